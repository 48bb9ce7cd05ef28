import type { Env } from "./env.js";
import type { SendMessageInput } from "./generated.js";

// JSON with keys sorted, all the way down: also those that look like numbers, which objects order by themselves.
function sorted(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(v => sorted(v ?? null)).join()}]`;
  if (!value || typeof value !== "object") return JSON.stringify(value);
  const entries = Object.entries(value).filter(([, v]) => v !== undefined).sort(([a], [b]) => (a < b ? -1 : 1));
  return `{${entries.map(([k, v]) => `${JSON.stringify(k)}:${sorted(v)}`).join()}}`;
}

/** The JSON of messages over which both sides compute the digest of a batch: docs/sync.md. */
export function canonical(inputs: SendMessageInput[]): string {
  return `[${inputs.map(i => {
    const head = JSON.stringify({
      clientMessageId: i.clientMessageId, channelId: i.channelId, threadId: i.threadId ?? null, parentMessageId: i.parentMessageId ?? null,
      content: i.content ?? null, type: i.type ?? "text",
    });
    return `${head.slice(0, -1)},"metadata":${sorted(i.metadata ?? null)},"mentions":${JSON.stringify(i.mentions ?? [])}}`;
  }).join()}]`;
}

/** SHA-256 over that in hexadecimal; null on a page without TLS, where browsers do not offer it. */
export async function digest(inputs: SendMessageInput[], env: Env): Promise<string | null> {
  if (!env.crypto?.subtle) return null;
  const sum = await env.crypto.subtle.digest("SHA-256", new TextEncoder().encode(canonical(inputs)));
  return [...new Uint8Array(sum)].map(b => b.toString(16).padStart(2, "0")).join("");
}
