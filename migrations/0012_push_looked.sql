-- +goose Up
-- Who looked at a device is asked about by itself, as who is not to be disturbed is: where a
-- channel was asked about for all of its members, who was told of a message again learned that
-- somebody looks. push_again is not read any more; it stays for servers from before this, and
-- what they leave there is swept.
alter table realtime.push_held add column looked boolean not null default false;
