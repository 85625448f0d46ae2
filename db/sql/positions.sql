-- name: advance$
-- Move a position forward; answers true if it moved, nothing if the place was passed before.
INSERT INTO stream_positions AS p (tenant_id, consumer_group, topic, partition, position)
VALUES (:tenant_id, :consumer_group, :topic, :partition, :position)
ON CONFLICT (tenant_id, consumer_group, topic, partition) DO UPDATE
SET position = excluded.position, updated_at = now()
WHERE p.position < excluded.position
RETURNING true;

-- name: reached$
-- How far a group's effects reach into a partition, for a tenant; nothing if it has none yet.
SELECT position FROM stream_positions
WHERE tenant_id = :tenant_id AND consumer_group = :consumer_group AND topic = :topic AND partition = :partition;

-- name: lock_epochs#
-- One at a time, until the transaction ends.
LOCK TABLE stream_epochs IN SHARE ROW EXCLUSIVE MODE;

-- name: epoch_of$
-- The number of a Kafka cluster, given out on first sight.
INSERT INTO stream_epochs AS e (cluster_id, epoch)
VALUES (:cluster_id, (SELECT coalesce(max(epoch) + 1, 0) FROM stream_epochs))
ON CONFLICT (tenant_id, cluster_id) DO UPDATE SET cluster_id = excluded.cluster_id
RETURNING epoch;
