-- +goose Up
-- When nchat's own tables are to be told again of whom they could not be told when its turn
-- was, for another transaction held its rows there; null: they were told, as far as
-- realtime.showing says.
alter table realtime.public_presence add column legacy_due timestamptz;
create index public_presence_legacy_idx on realtime.public_presence (legacy_due, version) where legacy_due is not null;
