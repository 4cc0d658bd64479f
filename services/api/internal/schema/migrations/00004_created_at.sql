-- +goose Up

-- The FastAPI example writes datetime.utcnow() without a zone. Where it goes on beside us and a session's timezone is not UTC,
-- Postgres takes that for local time, and the order is as old as the zone is wide. Type and zone of what was written are gone by
-- the time that a trigger sees it; but such a moment gives itself away: read as UTC it is now, and as it stands it is not.
--
-- Only orders without a message_id are looked at: our own insert has one, and costs nothing here. What was computed from the
-- transaction's or the statement's time is not a client's clock and stays as it is.

-- What a moment means that was written without a zone at utc_now in a session with a timezone; else the moment itself. Clocks may
-- differ by 5 minutes; zones differ by 15 at least.
-- +goose StatementBegin
create function orderflow.utc_if_utcnow(moment timestamptz, zone text, utc_now timestamptz)
returns timestamptz
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
    select case
        when moment between utc_now - interval '5 minutes' and utc_now + interval '5 minutes' then moment
        else coalesce(
            (
                -- The zone's offset is that of the moment, or that of before a change of clocks: a time which such a change skips
                -- is taken by the offset of before.
                select read.as_utc
                from unnest(array[moment, moment - interval '3 hours']) as near (at)
                cross join lateral (
                    select moment + ((near.at at time zone zone) - (near.at at time zone 'UTC')) as as_utc
                ) read
                where read.as_utc between utc_now - interval '5 minutes' and utc_now + interval '5 minutes'
                limit 1
            ),
            moment
        )
    end;
$$;
-- +goose StatementEnd

-- +goose StatementBegin
create function orderflow.created_at_in_utc()
returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    as_utc timestamptz := orderflow.utc_if_utcnow(new.created_at, current_setting('timezone'), clock_timestamp());
begin
    if as_utc not in (transaction_timestamp(), statement_timestamp()) then
        new.created_at := as_utc;
    end if;
    return new;
end
$$;
-- +goose StatementEnd

-- Anybody who may insert orders runs it, by inserting one, also without rights on this schema; nobody needs to call it.
revoke execute on function orderflow.utc_if_utcnow(timestamptz, text, timestamptz) from public;
revoke execute on function orderflow.created_at_in_utc() from public;

create trigger created_at_in_utc
    before insert on public.orders
    for each row
    when (new.message_id is null and isfinite(new.created_at))
    execute function orderflow.created_at_in_utc();
