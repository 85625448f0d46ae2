"""What people glue together instead of Millrace, to be measured beside it.

Nothing here may call home, and this runs before any of their packages is imported.
"""

import os

os.environ.update(
    COCOINDEX_DISABLE_USAGE_TRACKING="1",
    HAYSTACK_TELEMETRY_ENABLED="False",
    HF_HUB_DISABLE_TELEMETRY="1",
    HF_HUB_OFFLINE="1",
    LANGSMITH_TRACING="false",
    DO_NOT_TRACK="1",
)
