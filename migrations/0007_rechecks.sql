-- +goose Up
-- Whose rights are to be looked at once more: a change of a user does not see a
-- membership that is not committed yet, nor the other way round, and a transaction with
-- one snapshot for all of it sees neither that came meanwhile. settled is above every
-- transaction that may have been under way then; null: not looked at yet.
create table realtime.rechecks (
  id         bigint generated always as identity primary key,
  channel_id uuid,                              -- null: wherever they are members
  users      uuid[] not null,
  settled    xid8
);
