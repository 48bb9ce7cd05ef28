-- +goose Up
-- What a running server's doorbells travel by: servers of different buses would
-- not hear each other, and refuse to start.
alter table realtime.nodes add column bus text not null default 'postgres';
