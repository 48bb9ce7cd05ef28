import { Avatar } from "./parts";
import type { User } from "./world";

/** Who to be. */
export function Start({ users }: { users: User[] }) {
  return (
    <main className="start">
      <h1>nchat-realtime</h1>
      <p>Presence, typing, receipts and an offline queue, on the server that runs here. Take two people and let them talk.</p>
      <a className="button primary" href="/?users=alice,bob">Alice and Bob, side by side</a>
      <h2>Or be one of them</h2>
      <ul className="people">
        {users.map(u => (
          <li key={u.id}>
            <a href={`/?user=${u.name.toLowerCase()}`}><Avatar id={u.id} name={u.name} />{u.name}</a>
            <a className="aside" href={`/?user=${u.name.toLowerCase()}`} target="_blank" rel="noopener" aria-label={`new window: ${u.name}`}>new window</a>
          </li>
        ))}
      </ul>
      <p className="aside"><a href="/playground">The playground</a> has the API to try.</p>
    </main>
  );
}
