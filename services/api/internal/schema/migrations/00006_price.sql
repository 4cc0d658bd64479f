-- +goose Up

-- numeric(12,2) has no infinity, but it has NaN, which is larger than every number and so not negative. Not validated, because an order
-- that has it by some hand's doing must not stop a migration; it is shown as 0.
alter table public.orders add constraint orders_price_is_a_number check (price <> 'NaN') not valid;
