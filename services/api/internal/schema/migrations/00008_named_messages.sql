-- +goose Up

-- As before, but that an order names the msg_id is not enough when its created_at is not the message's: where ids have come again,
-- msg_ids may have too. A queue that is dropped and made again begins with msg_id 1, beside the dead letters of before; redriving those
-- completed other orders in the place of their own.
-- +goose StatementBegin
create or replace function orderflow.is_about(message jsonb, sent_as bigint, order_created_at timestamptz, order_message_id bigint)
returns boolean
language sql
immutable
set search_path = pg_catalog, pg_temp
as $$
    select case
        when order_created_at = m.created_at then true
        when order_message_id <> sent_as then false
        when m.created_at is null then order_message_id is null or sent_as is null or order_message_id = sent_as
        when order_created_at is null or not isfinite(order_created_at) then coalesce(order_message_id = sent_as, false)
        when order_message_id is not null and sent_as is null then false
        else order_created_at between m.created_at - interval '15 hours' and m.created_at + interval '15 hours'
             and mod(extract(epoch from order_created_at)::numeric - extract(epoch from m.created_at)::numeric, 900) = 0
    end
    from (select orderflow.moment(message ->> 'created_at') as created_at) m;
$$;
-- +goose StatementEnd
