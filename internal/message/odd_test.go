package message

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/nself-org/nchat-realtime/internal/demo"
	"github.com/nself-org/nchat-realtime/internal/fault"
	"github.com/nself-org/nchat-realtime/internal/postgres"
	"github.com/nself-org/nchat-realtime/internal/viewer"
)

// oddRows are what an app may write into a message, and what is to be told of it.
var oddRows = map[string]struct {
	set  string // of an update
	what Oddity // "": nothing is odd about it
	told func(Message) bool
}{
	"infinite edit":      {`edited_at = 'infinity'`, OddTime, func(m Message) bool { return m.EditedAt.Equal(postgres.Latest) }},
	"edit before time":   {`edited_at = '-infinity'`, OddTime, func(m Message) bool { return m.EditedAt.Equal(postgres.Earliest) }},
	"infinite creation":  {`created_at = 'infinity'`, OddTime, func(m Message) bool { return m.CreatedAt.Equal(postgres.Latest) }},
	"year 294276":        {`created_at = '294276-12-31 00:00:00+00'`, OddTime, func(m Message) bool { return m.CreatedAt.Equal(postgres.Latest) }},
	"before Christ":      {`created_at = '4713-01-01 00:00:00+00 BC'`, OddTime, func(m Message) bool { return m.CreatedAt.Equal(postgres.Earliest) }},
	"infinite deletion":  {`deleted_at = 'infinity'`, OddTime, func(m Message) bool { return m.DeletedAt.Equal(postgres.Latest) }},
	"deletion before":    {`is_deleted = true, deleted_at = '-infinity'`, OddTime, func(m Message) bool { return m.DeletedAt.Equal(postgres.Earliest) }},
	"null mention":       {`mentions = array[null, '` + demo.Bob.String() + `']::uuid[]`, OddMentions, func(m Message) bool { return len(m.Mentions) == 1 && m.Mentions[0] == demo.Bob }},
	"null mentions only": {`mentions = array[null, null]::uuid[]`, OddMentions, func(m Message) bool { return len(m.Mentions) == 0 }},
	"mentions in a grid": {`mentions = array[[gen_random_uuid(), null], [gen_random_uuid(), gen_random_uuid()]]`, OddMentions, func(m Message) bool { return len(m.Mentions) == 3 }},
	"2,000 mentions":     {`mentions = (select array_agg(gen_random_uuid()) from generate_series(1, 2000))`, OddMentions, func(m Message) bool { return len(m.Mentions) == 1000 }},
	"no mentions":        {`mentions = '{}'`, "", func(m Message) bool { return len(m.Mentions) == 0 }},
	"mentions from 5":    {`mentions = '[5:5]={` + demo.Bob.String() + `}'`, "", func(m Message) bool { return len(m.Mentions) == 1 }},
	"null type":          {`type = null`, "", func(m Message) bool { return m.Type == TypeText }},
	"type of the app's":  {`type = 'poll'`, OddType, func(m Message) bool { return m.Type == TypeText }},
	"null content":       {`content = null`, "", func(m Message) bool { return m.Content == nil }},
	"endless content":    {`content = repeat('x', 30000000)`, OddContent, func(m Message) bool { return m.Content == nil }},
	"long content":       {`content = repeat('ä', 30000)`, "", func(m Message) bool { return len(*m.Content) == 60000 }},
	"null metadata":      {`metadata = null`, "", func(m Message) bool { return m.Metadata == nil }},
	"metadata of null":   {`metadata = 'null'`, "", func(m Message) bool { return m.Metadata == nil }},
	"metadata a list":    {`metadata = '[1, "a  b"]'`, "", func(m Message) bool { return string(m.Metadata) == `[1,"a  b"]` }},
	"metadata spelled":   {`metadata = '{"n": 1e3, "a": {"b": []}}'`, "", func(m Message) bool { return string(m.Metadata) == `{"a":{"b":[]},"n":1000}` }},
	"huge number":        {`metadata = '{"n": 1e131071}'`, OddMetadata, func(m Message) bool { return m.Metadata == nil }},
	"tiny number":        {`metadata = '{"n": 1e-16383}'`, OddMetadata, func(m Message) bool { return m.Metadata == nil }},
	"long zero":          {`metadata = '{"n": 0e-16383}'`, OddMetadata, func(m Message) bool { return m.Metadata == nil }},
	"zeros of a GB":      {`metadata = (select jsonb_agg('0e-16383'::jsonb) from generate_series(1, 70000))`, OddMetadata, func(m Message) bool { return m.Metadata == nil }},
	"numbers of a GB":    {`metadata = (select jsonb_agg('1e131071'::jsonb) from generate_series(1, 9000))`, OddMetadata, func(m Message) bool { return m.Metadata == nil }},
	"past a double":      {`metadata = '{"n": 1e400}'`, OddMetadata, func(m Message) bool { return m.Metadata == nil }},
	"endless metadata":   {`metadata = jsonb_build_object('s', repeat('x', 20000000))`, OddMetadata, func(m Message) bool { return m.Metadata == nil }},
	"too long metadata":  {`metadata = jsonb_build_object('s', repeat('x', 16384))`, OddMetadata, func(m Message) bool { return m.Metadata == nil }},
	"longest metadata":   {`metadata = jsonb_build_object('s', repeat('x', 16376))`, "", func(m Message) bool { return len(m.Metadata) == MaxMetadata }},
	"small elements":     {`metadata = (select jsonb_agg(1) from generate_series(1, 8000))`, "", func(m Message) bool { return len(m.Metadata) == 16001 }},
	"deep metadata":      {`metadata = (repeat('[', 3000) || repeat(']', 3000))::jsonb`, OddMetadata, func(m Message) bool { return m.Metadata == nil }},
	"as deep as may be":  {`metadata = (repeat('[', 64) || repeat(']', 64))::jsonb`, "", func(m Message) bool { return len(m.Metadata) == 128 }},
}

// Whatever a row holds, it is read, what can be told of it is told, and others
// that are read with it are as they were: in a transaction and without.
func TestOddRowsAreTold(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.exec(`alter type public.message_type add value 'poll'`)
	ids, names := []uuid.UUID{}, map[uuid.UUID]string{}
	for name, c := range oddRows {
		id := uuid.New()
		ids, names[id] = append(ids, id), name
		r.exec(`insert into public.nchat_messages (id, channel_id, user_id, content, metadata) values ($1, $2, $3, 'x', '{"k": 1}')`, id, demo.General, demo.Alice)
		r.exec(`update public.nchat_messages set `+c.set+` where id = $1`, id)
	}
	if err := r.settle(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, inTx := range []bool{false, true} {
		got := map[uuid.UUID][]Oddity{}
		reader := Reader{Odd: func(_ context.Context, id uuid.UUID, what Oddity) { got[id] = append(got[id], what) }}
		var list map[uuid.UUID]Message
		load := func(db postgres.DB) (err error) {
			list, err = reader.Load(t.Context(), db, "primary", ids)
			return err
		}
		err := load(r.pool)
		if inTx {
			clear(got)
			err = pgx.BeginFunc(t.Context(), r.pool, func(tx pgx.Tx) error { return load(tx) })
		}
		if err != nil {
			t.Fatal(err)
		}
		for id, name := range names {
			c, m := oddRows[name], list[id]
			if m.ID != id || !c.told(m) {
				t.Errorf("%s: told as %.300s", name, fmt.Sprintf("%+v", m))
			}
			if want := c.what; len(got[id]) > 1 || (want != "") != (len(got[id]) == 1) || want != "" && got[id][0] != want {
				t.Errorf("%s: noted as %v, want %q", name, got[id], want)
			}
			if len(m.Metadata) > MaxMetadata {
				t.Errorf("%s: %d bytes of metadata", name, len(m.Metadata))
			}
		}
	}
}

// A row that fails whenever it is read costs only itself.
func TestARowThatCannotBeReadHasNoContent(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ids := make([]uuid.UUID, 7)
	for i := range ids {
		ids[i] = uuid.New()
		r.exec(`insert into public.nchat_messages (id, channel_id, user_id, content) values ($1, $2, $3, 'x')`, ids[i], demo.General, demo.Alice)
	}
	if err := r.settle(t.Context()); err != nil {
		t.Fatal(err)
	}
	broken := ids[4]
	r.exec(`create or replace function realtime.message_rows()
returns table (id uuid, sender uuid, content text, type text, created_at timestamptz, thread_id uuid, parent_message_id uuid,
               metadata jsonb, mentions uuid[], edited_at timestamptz, deleted_at timestamptz)
language sql stable as $$
  select o.id, o.user_id, case when o.id = '` + broken.String() + `' then (1 / (o.reply_count))::text else o.content end, o.type::text, o.created_at,
         o.thread_id, o.parent_message_id, o.metadata, o.mentions, o.edited_at, o.deleted_at from public.nchat_messages o $$`)
	for _, inTx := range []bool{false, true} {
		odd := 0
		reader := Reader{Odd: func(_ context.Context, id uuid.UUID, what Oddity) {
			if odd++; id != broken || what != OddRow {
				t.Error("noted", id, what)
			}
		}}
		var list map[uuid.UUID]Message
		err := pgx.BeginFunc(t.Context(), r.pool, func(tx pgx.Tx) (err error) {
			if list, err = reader.Load(t.Context(), tx, "primary", ids); err == nil {
				_, err = tx.Exec(t.Context(), `select 1`)
			}
			return err
		})
		if !inTx {
			odd = 0
			list, err = reader.Load(t.Context(), r.pool, "primary", ids)
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, id := range ids {
			if m := list[id]; m.ID != id || m.Number == 0 || m.Gone || (m.Content == nil) != (id == broken) {
				t.Errorf("%v: %+v", id == broken, m)
			}
		}
		if odd != 1 {
			t.Errorf("noted %d times", odd)
		}
	}
}

// TestAnEditOfWhatIsEndless: an app wrote what no client is told; its author edits
// it all the same, and is not answered with it.
func TestAnEditOfWhatIsEndless(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	id := uuid.New()
	r.exec(`insert into public.nchat_messages (id, channel_id, user_id, content) values ($1, $2, $3, 'x')`, id, demo.General, demo.Alice)
	if err := r.settle(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.exec(`update public.nchat_messages set content = repeat('x', 5000000) where id = $1`, id)
	r.exec(`update public.nchat_messages set content = repeat('y', 5000000) where id = $1`, id)
	var c current
	err := pgx.BeginFunc(t.Context(), r.pool, func(tx pgx.Tx) (err error) {
		c, err = lock(t.Context(), tx, as(demo.Alice), id, r.one.o.reader().content())
		return err
	})
	if err != nil || c.content != nil {
		t.Fatalf("%d bytes were read to look who may change it, %v", len(*c.content), err)
	}
	m, conflict, err := r.one.Edit(t.Context(), as(demo.Alice), id, "short again", 1)
	if err != nil || m.Content != nil && len(*m.Content) > 1000 {
		t.Fatal(m, err)
	}
	if conflict == nil || conflict.Server != nil || conflict.Base == nil || *conflict.Base != "x" {
		t.Errorf("%+v", conflict)
	}
}

func TestMetadataThatNoReaderCouldTake(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	number := func(n string) string { return `{"n":` + n + `}` }
	many := func(n string, times int) string { return `{"a":[` + strings.Repeat(n+",", times-1) + n + `]}` }
	for meta, ok := range map[string]bool{
		number("1e308"): true, number("-1.7976931348623157e308"): true, number("5e-324"): true, number("0"): true, number("-0"): true, number("-0.0e-10"): true,
		number("0e300"): true, number("123456789012345678901234567890"): true, number("1E+2"): true, number("0.1e1"): true,
		number("1e309"): false, number("1.8e308"): false, number("-1e400"): false, number("1e131071"): false, number("1e131072"): false,
		number("1e-324"): false, number("1e-400"): false, number("1e-16383"): false, number("1e-20000"): false, number("0e-16383"): false,
		number("0e131072"): false, number("1e99999999999999999999"): false, number("-1e-99999999999999999999"): false,
		number("1" + strings.Repeat("0", 400)): false, number("0." + strings.Repeat("0", 400) + "1"): false,
		number("1." + strings.Repeat("0", 3000) + "1"): true,
		many("1e308", 40): true, many("1e308", 60): false, many("5e-324", 60): false, many("0.0", 3000): true, many("0.0", 6000): false,
		`{"s":"` + strings.Repeat("x", 16376) + `"}`: true, `{"s":"` + strings.Repeat("x", 16377) + `"}`: false,
		`{"s":"\\u0000"}`: true, `{"s":"\u0000"}`: false, `{"\u0000":1}`: false, `{"s":"\ud800"}`: true,
		`{"a":` + strings.Repeat("[", 63) + strings.Repeat("]", 63) + `}`:     true,
		`{"a":` + strings.Repeat("[", 64) + strings.Repeat("]", 64) + `}`:     false,
		`{"a":` + strings.Repeat("[", 8000) + strings.Repeat("]", 8000) + `}`: false,
		`[]`: false, `1`: false, `"x"`: false, `null`: true, `{}`: true,
	} {
		text := "x"
		res, err := r.one.Send(t.Context(), viewer.Of("primary", demo.Alice), Input{ClientMessageID: uuid.NewString(), Channel: demo.General, Content: &text, Metadata: json.RawMessage(meta)})
		if err != nil {
			t.Fatal(err)
		}
		short := meta[:min(len(meta), 60)]
		switch {
		case ok && (res.Err != nil || res.Message == nil || len(res.Message.Metadata) > MaxMetadata):
			t.Errorf("%s: %v", short, res.Err)
		case ok && meta != "null" && res.Message.Metadata == nil:
			t.Errorf("%s: sent, and cannot be told", short)
		case !ok && (res.Err == nil || res.Err.Code != fault.Invalid || res.Err.Retryable || res.Err.Field != "metadata"):
			t.Errorf("%s: %+v", short, res.Err)
		}
	}
}

// What an app's own trigger or constraint does not let in is refused for good:
// whoever has it in a queue must not send it for ever.
func TestWhatTheDatabaseRefuses(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.exec(`alter table public.nchat_messages add constraint own check (content <> 'check')`)
	r.exec(`create function own() returns trigger language plpgsql as $$ begin
		if new.content = 'raise' then raise exception 'not on Sundays'; end if;
		if new.content = 'none' then raise no_data_found; end if;
		if new.content = 'assert' then assert false; end if;
		if new.content = 'web' then raise 'forbidden' using errcode = 'PT403'; end if;
		if new.content = 'signal' then raise 'forbidden' using errcode = '45000'; end if;
		if new.content = 'action' then raise triggered_action_exception; end if;
		if new.content = 'outside' then raise external_routine_exception; end if;
		if new.content = 'cast' then perform (new.metadata ->> 'n')::integer; end if;
		return new; end $$`)
	r.exec(`create trigger own before insert on public.nchat_messages for each row execute function own()`)
	r.exec(`create unique index own on public.nchat_messages (channel_id, (metadata ->> 'n')) where content in ('unique', 'first')`)
	r.exec(`insert into public.nchat_messages (channel_id, content, metadata) values ($1, 'first', '{"n": "seven"}')`, demo.General)
	for text, want := range map[string]fault.Code{"check": fault.Constraint, "raise": fault.Constraint, "none": fault.Constraint, "assert": fault.Constraint, "web": fault.Constraint,
		"signal": fault.Constraint, "action": fault.Constraint, "outside": fault.Constraint, "unique": fault.Constraint, "cast": fault.Invalid, "fine": ""} {
		in := []Input{{ClientMessageID: uuid.NewString(), Channel: demo.General, Content: &text, Metadata: json.RawMessage(`{"n": "seven"}`)}}
		next := "next"
		in = append(in, Input{ClientMessageID: uuid.NewString(), Channel: demo.General, Content: &next})
		out, _, err := r.one.SendAll(t.Context(), as(demo.Alice), in, "")
		if err != nil {
			t.Fatal(err)
		}
		if f := out[0].Err; (f == nil) != (want == "") || f != nil && (f.Code != want || f.Retryable) {
			t.Errorf("%s: %+v", text, f)
		}
		if out[1].Err != nil {
			t.Errorf("%s: what follows it: %+v", text, out[1].Err)
		}
	}
}
