-- +goose Up
-- What is folded is found by its thread too: who had read in many threads had all of it folded
-- anew with each. Writing receipts waits while the index is built, a second or two for a
-- million moves. Tables of the app's are not locked.
create index moves_folded_thread_idx on realtime.moves (channel_id, user_id, (coalesce(thread, channel_id))) where folded;
drop index realtime.moves_folded_idx;
