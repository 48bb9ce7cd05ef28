-- +goose Up
-- Whether the unlogged tables were emptied under nodes that ran, by a crash of Postgres or the
-- promotion of a standby: their sessions are missing until they have said again which still live.
alter table realtime.boot add column crashed boolean not null default false;
