-- +goose Up

-- A queue's front: up to which due time the consumers' reads have come, in microseconds since 1970. It is a sequence because that is the one thing in
-- Postgres that all sessions see changed before the transaction ends. Each consumer begins most of its reads there, and so passes over what the
-- others have leased, or are leasing. It is a hint: what is due before it is found as well, within a second (docs/decisions/0016).
-- +goose StatementBegin
create function orderflow.make_front(queue text)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    front constant text := 'front_' || lower(queue);
    role  oid;
begin
    if to_regclass(format('orderflow.%I', front)) is null then
        execute format('create sequence orderflow.%I', front);
        execute format('comment on sequence orderflow.%I is %L', front, 'Up to which due time reads of the queue have come, in microseconds since 1970; a hint');
    end if;
    -- Whoever may lease the queue's messages may move its front.
    for role in
        select distinct a.grantee
        from pg_class c, aclexplode(c.relacl) a
        where c.oid = to_regclass(format('pgmq.%I', 'q_' || lower(queue))) and a.privilege_type = 'UPDATE' and a.grantee <> 0
          and not has_sequence_privilege(a.grantee, format('orderflow.%I', front), 'update')
    loop
        execute format('grant select, update on sequence orderflow.%I to %s', front, role::regrole);
    end loop;
end
$$;
-- +goose StatementEnd

revoke execute on function orderflow.make_front(text) from public;

-- Moves a front to where a read has come to that began with it at began. One that began at the beginning of the queue moves it in any case: back, too,
-- where it has found something older. The others move it ahead only, and not when it has been moved back meanwhile: from there all are to go on.
-- The rights are the caller's.
-- +goose StatementBegin
create function orderflow.move_front(front regclass, began bigint, reached bigint, from_the_beginning boolean)
returns bigint
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    current bigint;
begin
    execute format('select s.last_value from %s s', front) into current;
    if from_the_beginning or current >= began and current < reached then
        return setval(front, reached);
    end if;
    return current;
end
$$;
-- +goose StatementEnd

-- Consumers that have waited for this schema are to find it. Other queues' are made when the api that has them starts.
select orderflow.make_front(current_setting('orderflow.queue'));
