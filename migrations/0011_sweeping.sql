-- +goose Up
-- What is folded is found by its thread too: who had read in many threads had all of it folded
-- anew with each. Writing receipts waits while the index is built, a second or two for a
-- million moves. Tables of the app's are not locked.
create index moves_folded_thread_idx on realtime.moves (channel_id, user_id, (coalesce(thread, channel_id))) where folded;
drop index realtime.moves_folded_idx;

-- The rows that the sweep leaves room for are written where older ones were: then what has the
-- newest and the oldest of each range finds nothing by it any more. Sending and editing wait
-- while these are built, as long.
drop index realtime.client_keys_at_idx;
create index client_keys_at_idx on realtime.client_keys (at);
drop index realtime.message_versions_at_idx;
create index message_versions_at_idx on realtime.message_versions (at);
