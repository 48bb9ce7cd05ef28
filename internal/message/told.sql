-- told_metadata is metadata as text; null: it has more than some bytes. What a
-- row has may be compressed, and a number of eight bytes be written with 131,000
-- digits: neither is unpacked before its size is known.
create or replace function realtime.told_metadata(m jsonb, most integer) returns text
language plpgsql immutable strict set search_path = pg_catalog, pg_temp as $$
declare
  size integer := pg_column_size(m);
  said text;
begin
  if size > 4 * most then
    return null;
  end if;
  size := pg_column_size(jsonb_build_array(m)); -- a value just made is not compressed
  if size > 7 * most then -- an element takes twelve bytes at most where its text has two
    return null;
  end if;
  if size > 1000 and (select coalesce(sum(scale(x.n::numeric)), 0) > most or bool_or(abs(x.n::numeric) >= 1e309)
                        from jsonb_path_query(m, 'strict $.** ? (@.type() == "number")') x (n)) then
    return null;
  end if;
  said := m::text;
  return case when octet_length(said) <= most then said end;
end $$;
