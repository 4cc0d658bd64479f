-- The tail of what ends a delivery otherwise than by an ack, in the same statement: it goes into the history of its order. This never fails,
-- and what could not be written there changes nothing here: see orderflow.note_history. It is computed since the answer asks for it.
noted as (
  select orderflow.note_history(jsonb_agg(story || jsonb_build_object(
           'msg_id', msg_id, 'read_ct', read_ct, 'enqueued_at', enqueued_at, 'retry_at', vt)) filter (where story is not null)) as noted
    from {ended}
)
