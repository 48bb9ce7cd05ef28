-- +goose Up
-- What is folded is found by its thread too: who had read in many threads had all of it folded
-- anew with each. And the rows that a sweep leaves room for are written where older ones were:
-- an index that has the newest and the oldest of each range finds nothing by it any more.
-- Receipts, messages and edits are not written while these are built, some seconds for a million
-- rows, and are refused, to be tried again, where that takes longer; what is there is read. The
-- old ones go last, in a moment. Tables of the app's are not locked.
create index moves_folded_thread_idx on realtime.moves (channel_id, user_id, (coalesce(thread, channel_id))) where folded;
create index message_versions_aged_idx on realtime.message_versions (at);
create index client_keys_aged_idx on realtime.client_keys (at);
drop index realtime.moves_folded_idx;
drop index realtime.message_versions_at_idx;
drop index realtime.client_keys_at_idx;
