// What the test that drives these can do: tokens, and servers that are killed and come back.
import { randomUUID } from "node:crypto";
import { request } from "node:http";

/** Where apps dial: as Hasura's own endpoint is named. */
const PATH = "/v1/graphql";
export const calm = process.env.NCHAT_TEST_SERVER! + PATH, rough = process.env.NCHAT_TEST_ROUGH! + PATH;
const control = process.env.NCHAT_TEST_CONTROL!;

// By Node's own client: a browser's fetch, as happy-dom has it, asks for permission first.
function ask(path: string): Promise<string> {
  return new Promise((resolve, reject) => {
    request(`${control}${path}`, { method: "POST" }, res => {
      let text = "";
      res.setEncoding("utf8").on("data", part => { text += part; }).on("end", () => (res.statusCode === 200 ? resolve(text) : reject(new Error(`${path}: ${text}`))));
    }).on("error", reject).end();
  });
}

/** A token of a user of the demo world; for an hour unless told. */
export const token = (user: string, seconds = 3600) => ask(`/token?user=${user}&seconds=${seconds}`);
/** Kills the rough server, as kill -9 does. */
export const kill = () => ask("/kill");
/** Starts it again, on the same port. */
export const start = () => ask("/start");
/** Refuses a user's tokens issued before now, everywhere. */
export const revoke = (user: string) => ask(`/revoke?user=${user}`);
/** Runs SQL, as somebody who writes past this API does. */
export const sql = (text: string) => ask(`/sql?text=${encodeURIComponent(text)}`);

/** Somebody new, member of some channels: nobody else's test sees them come and go. */
export async function person(name: string, ...channels: string[]): Promise<string> {
  const id = randomUUID();
  await sql(`insert into nchat_users (id, email, display_name) values ('${id}', '${id}@example.org', '${name}')`);
  for (const c of channels) await sql(`insert into nchat_channel_members (channel_id, user_id) values ('${c}', '${id}')`);
  return id;
}

async function room(type: string, users: string[]): Promise<string> {
  const id = randomUUID();
  await sql(`insert into nchat_channels (id, name, slug, type) values ('${id}', 'own', '${id}', '${type}')`);
  for (const u of users) await sql(`insert into nchat_channel_members (channel_id, user_id) values ('${id}', '${u}')`);
  return id;
}
/** A private channel of some people's own. */
export const channel = (...users: string[]) => room("private", users);
/** A direct conversation of two. */
export const direct = (one: string, other: string) => room("direct", [one, other]);
