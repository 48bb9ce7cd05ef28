import type { User } from "./world";

/** Two users on one screen: each a page of its own, so that input, focus and storage are each one's. */
export function Pair({ users }: { users: User[] }) {
  return (
    <main className="pair">
      <h1 className="hidden">Two users side by side</h1>
      {users.map(u => <iframe key={u.id} title={u.name} src={`/?user=${u.name.toLowerCase()}`} />)}
    </main>
  );
}
