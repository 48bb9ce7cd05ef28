import { createContext, useContext } from "react";

export interface User { id: string; name: string }

async function get(path: string) {
  const answer = await fetch(path);
  if (!answer.ok) throw new Error(`${path}: ${answer.status} ${await answer.text()}`);
  return answer;
}

/** Those of the demo world. */
export const users = async (): Promise<User[]> => (await get("/demo/users")).json() as Promise<User[]>;

/** A token of one of them: `dev` alone gives them away. */
export const token = async (user: User) => (await get(`/demo/token?user=${encodeURIComponent(user.name)}`)).text();

export const World = createContext<{ me: User; users: User[] }>({ me: { id: "", name: "" }, users: [] });

/** Names for ids. */
export function useNames() {
  const { me, users } = useContext(World);
  return { me, users, name: (id: string | null) => (id === me.id ? "You" : users.find(u => u.id === id)?.name ?? "Somebody") };
}

export const clock = (at: string | number | Date) => new Date(at).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });

export function ago(at: Date): string {
  const minutes = Math.round((Date.now() - at.getTime()) / 60_000);
  if (minutes < 1) return "just now";
  if (minutes < 60) return `${minutes} min ago`;
  if (minutes < 1440) return `${Math.round(minutes / 60)} h ago`;
  return at.toLocaleDateString();
}
