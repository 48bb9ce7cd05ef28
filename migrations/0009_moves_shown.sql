-- +goose Up
-- Moves that are held stand apart from those that are shown: who asks for its messages'
-- receipts does not pass by them, and takes no longer where somebody reads while invisible.
-- Writing receipts waits while the new index is built, a second or two for a million moves;
-- reading them for a moment alone, when the old one goes. Tables of the app's are not locked.
create index moves_shown_idx on realtime.moves (channel_id, (coalesce(thread, channel_id)), held, span, to_seq);
drop index realtime.moves_passing_idx;
