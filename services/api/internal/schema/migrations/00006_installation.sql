-- +goose Up

-- What tells this installation from every other, for ever: made once, and restored with the database. With an order's id and
-- created_at it names an order to the outside; two installations may well call the same receiver.
create table orderflow.installation (
    id       uuid    not null default gen_random_uuid(),
    only_one boolean not null primary key default true check (only_one)
);

comment on table orderflow.installation is
    'Orderflow: one row, made once. Do not change it: receivers would take orders that they know for new ones';

insert into orderflow.installation default values;

-- Fails, so that a statement which changed less than it was to change takes nothing of it for done: a row-level trigger that
-- returned null has kept rows from being written, and says so to nobody. The detail lists the messages that are concerned.
-- +goose StatementBegin
create function orderflow.not_written(what text, msg_ids bigint[])
returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    raise exception '%', what
        using errcode = 'OF001',
              detail = msg_ids::text,
              hint = 'A row-level trigger has suppressed the write. `consumer doctor` names those that can.';
end
$$;
-- +goose StatementEnd
