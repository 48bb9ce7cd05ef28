/**
 * Where tokens come from: called for each dial, so that no stale one is used.
 * refresh: the last one was refused, or is about to expire; a new one is wanted. null: nobody is signed in. Throw when it cannot be known now: that is tried again.
 */
export type GetToken = (why: { refresh: boolean }) => string | null | undefined | Promise<string | null | undefined>;

type Claims = Record<string, unknown> & { exp?: number };

function claims(token: string): Claims {
  try {
    const part = token.split(".")[1]!.replace(/-/g, "+").replace(/_/g, "/");
    return JSON.parse(new TextDecoder().decode(Uint8Array.from(atob(part), c => c.charCodeAt(0)))) as Claims;
  } catch {
    return {};
  }
}

/** The user a token says it is of: for the name of the local database. The server believes its own check alone. */
export function userOf(token: string): string | null {
  const all = claims(token);
  let own = all["https://hasura.io/jwt/claims"];
  if (typeof own === "string") {
    try {
      own = JSON.parse(own);
    } catch { /* not ours to judge */ }
  }
  const id = (own as Record<string, unknown> | undefined)?.["x-hasura-user-id"] ?? all.sub;
  return typeof id === "string" ? id.toLowerCase() : null;
}
