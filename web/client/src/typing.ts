import type { Connection } from "./connection.js";
import { type Env, listen } from "./env.js";
import { StartTyping, StopAllTyping, StopTyping, TypingChanged } from "./generated.js";
import { type RoomRef, roomInput, roomName } from "./rooms.js";
import { type Family, family, type Readable, store } from "./store.js";
import type { RoomTyping } from "./types.js";
import { createWatch, type Watch } from "./watch.js";

export interface TypingService {
  /** Who types in a room, watched while somebody subscribes. Never the caller. */
  room(room: RoomRef): Readable<RoomTyping | undefined>;
  /** The rooms that are watched, by name. */
  all: Readable<ReadonlyMap<string, RoomTyping>>;
  watch(room: RoomRef): () => void;
  /** What is in the input now. Said 300 ms after it began, again while it goes on, and taken back at once when it is empty. */
  input(room: RoomRef, text: string): void;
  /** As input with some text, without a debounce. */
  start(room: RoomRef): void;
  stop(room: RoomRef): void;
  stopAll(): void;
  /** Whether the caller is shown as typing there. */
  typing(room: RoomRef): boolean;
  /** The names of the rooms where the caller is. */
  own: Readable<ReadonlySet<string>>;
}

const DEBOUNCE = 300, AGAIN = 3000, EXPIRES = 5000;

interface Typist {
  /** The last keystroke, and the one that was last said; as Date.now() counts. */
  at: number;
  saidAt: number;
  /** Said to the server, and not taken back. */
  said: boolean;
  /** Not said again before. */
  next: number;
  busy: boolean;
  /** Ended by a message, which the server takes for a stop. */
  quiet: boolean;
  timer?: ReturnType<typeof setTimeout>;
}

export function createTyping(connection: Connection, env: Env, maxRooms: () => number) {
  const watch: Watch = createWatch(connection, env.random, TypingChanged, names => ({ rooms: names.map(n => roomInput(n)) }), maxRooms,
    d => d.typingChanged.forEach(t => watch.has(t.room.name) && rooms.set(t.room.name, t)), name => rooms.set(name, undefined), name => rooms.set(name, undefined));
  const rooms: Family<RoomTyping> = family<RoomTyping>(watch.hold);
  const typists = new Map<string, Typist>(), own = store<ReadonlySet<string>>(new Set());
  const tell = () => own.set(new Set(typists.keys()));
  function end(name: string) {
    typists.delete(name);
    tell();
  }
  function endAll() {
    for (const t of typists.values()) clearTimeout(t.timer);
    if (!typists.size) return;
    typists.clear();
    tell();
  }

  const arm = (name: string, typist: Typist, ms: number) => {
    clearTimeout(typist.timer);
    typist.timer = setTimeout(() => tick(name, typist), Math.min(EXPIRES, Math.max(0, ms)));
  };
  // The clock was set back: what was goes by the new one.
  const follow = (t: Typist, now: number) => {
    if (t.at > now + AGAIN) Object.assign(t, { at: now, saidAt: t.at > t.saidAt ? 0 : now, next: now });
  };
  function tick(name: string, typist: Typist) {
    if (typists.get(name) !== typist || typist.busy) return;
    typist.timer = undefined;
    const now = Date.now();
    follow(typist, now);
    const left = typist.at + EXPIRES - now;
    if (left <= 0) end(name); // the server's timer ran with ours
    else if (typist.at <= typist.saidAt) arm(name, typist, left);
    else if (now < typist.next) arm(name, typist, typist.next - now);
    else void say(name, typist, now);
  }
  async function say(name: string, typist: Typist, now: number) {
    Object.assign(typist, { busy: true, said: true, saidAt: typist.at, next: now + AGAIN });
    try {
      const { startTyping: ack } = await connection.request(StartTyping, { room: roomInput(name) }, { socketOnly: true });
      if (!ack.accepted) Object.assign(typist, { saidAt: 0, next: Date.now() + 1000 }); // too soon after the last
    } catch {
      Object.assign(typist, { said: false, next: Date.now() + 1000 });
    }
    typist.busy = false;
    if (typists.get(name) === typist) tick(name, typist);
    else if (typist.said && !typists.has(name) && !typist.quiet) void retract(name); // stopped while this was on its way
  }
  function touch(room: RoomRef, wait: number) {
    const name = roomName(room), now = Date.now();
    let typist = typists.get(name);
    if (!typist) {
      typists.set(name, (typist = { at: 0, saidAt: 0, said: false, next: 0, busy: false, quiet: false }));
      tell();
    }
    follow(typist, now);
    typist.at = Math.max(now, typist.at + 1);
    if (typist.busy) return;
    if (typist.said) arm(name, typist, typist.next - now);
    else if (!typist.timer || !wait) arm(name, typist, wait);
  }
  const retract = (name: string) => connection.request(StopTyping, { room: roomInput(name) }, { socketOnly: true }).catch(() => {});
  function stop(room: RoomRef) {
    const name = roomName(room), typist = typists.get(name);
    if (!typist) return;
    end(name);
    clearTimeout(typist.timer);
    if (typist.said && !typist.busy) void retract(name); // else once it is answered
  }
  function stopAll() {
    const said = [...typists.values()].some(t => t.said);
    endAll();
    if (said) void connection.request(StopAllTyping, {}, { socketOnly: true }).catch(() => {});
  }
  let offs: (() => void)[] = [];
  connection.events.on("begin", () => {
    offs = [
      listen(env.window, "blur pagehide", stopAll),
      listen(env.document, "visibilitychange", () => env.document?.hidden && stopAll()),
    ];
  });
  connection.events.on("end", () => offs.forEach(f => f()));
  connection.events.on("down", () => { // the server forgot it with the socket; others may have typed on
      endAll();
      for (const name of rooms.all.get().keys()) rooms.set(name, undefined);
  });
  const service: TypingService = {
    room: room => rooms.of(roomName(room)),
    all: rooms.all,
    watch: room => watch.hold(roomName(room)),
    input: (room, text) => (text.trim() ? touch(room, DEBOUNCE) : stop(room)),
    start: room => touch(room, 0),
    stop, stopAll, own,
    typing: room => typists.has(roomName(room)),
  };
  return {
    service,
    /** A message went there: the server knows by itself. */
    sent(room: RoomRef) {
      const name = roomName(room), t = typists.get(name);
      if (!t) return;
      t.quiet = true;
      clearTimeout(t.timer);
      end(name);
    },
    clear: () => rooms.clear(),
  };
}
