# One image for every part: the command says which (gateway, worker parse, migrate, ...).

ARG PYTHON_VERSION=3.13

FROM python:${PYTHON_VERSION}-slim AS builder

# What builds is pinned here; what runs is pinned, with hashes, in requirements-runtime.lock.
RUN pip install --no-cache-dir --disable-pip-version-check --root-user-action=ignore uv==0.13.9 hatchling==1.33.0

# Compiled now, since the user that runs it cannot write beside the code.
ENV UV_COMPILE_BYTECODE=1 \
    UV_LINK_MODE=copy \
    UV_NO_CACHE=1 \
    UV_PYTHON_DOWNLOADS=never

WORKDIR /src
COPY requirements-runtime.lock ./
RUN uv venv --python "$(command -v python)" /opt/millrace \
    && uv pip sync --python /opt/millrace --require-hashes requirements-runtime.lock

# .dockerignore lets in only what the wheel is made of.
COPY . ./
RUN pip wheel --no-deps --no-build-isolation --no-cache-dir --disable-pip-version-check --wheel-dir /dist . \
    && uv pip install --python /opt/millrace --no-deps /dist/*.whl

FROM python:${PYTHON_VERSION}-slim

LABEL org.opencontainers.image.title="Millrace" \
      org.opencontainers.image.description="Documents flow through Kafka into Postgres, and answers come out, with citations." \
      org.opencontainers.image.licenses="Apache-2.0"

# By number, so that volumes keep their owner from one build to the next, and Kubernetes can see that it is not root.
RUN groupadd --gid 10001 millrace \
    && useradd --uid 10001 --gid millrace --no-create-home --home-dir /var/lib/millrace --shell /usr/sbin/nologin millrace \
    && install --directory --owner=millrace --group=millrace /var/lib/millrace /var/lib/millrace/blobs

COPY --from=builder /opt/millrace /opt/millrace

# A container runs one part, so that all may use the same port: the one that is asked for their health.
ENV PATH=/opt/millrace/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    MILLRACE_BLOBS_URL=/var/lib/millrace/blobs \
    MILLRACE_GATEWAY_HOST=0.0.0.0 \
    MILLRACE_GATEWAY_PORT=8000 \
    MILLRACE_WORKER_HOST=0.0.0.0 \
    MILLRACE_WORKER_PORT=8000

# Where Faust puts its folders.
WORKDIR /var/lib/millrace
USER 10001:10001
EXPOSE 8000

HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/healthz', timeout=4)"]

ENTRYPOINT ["millrace"]
