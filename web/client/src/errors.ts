/** An error of the server's, or of the way there. */
export class RealtimeError extends Error {
  override readonly name = "RealtimeError";
  constructor(
    /** extensions.code of the server; or `connection-lost`, `timeout`, `offline`, `needs-auth`, `queue-full`, `closed`. */
    readonly code: string,
    message: string,
    /** The same again may succeed. */
    readonly retryable = false,
    /** When, in milliseconds; null: with back-off. */
    readonly retryAfterMs: number | null = null,
    /** Which of several inputs it is about. */
    readonly index: number | null = null,
  ) {
    super(message);
  }
}

export interface WireError {
  message: string;
  extensions?: { code?: string; retryable?: boolean; retryAfterMs?: number; index?: number };
}

export function fromWire({ message, extensions: x = {} }: WireError): RealtimeError {
  return new RealtimeError(x.code ?? "unexpected", message, x.retryable ?? false, x.retryAfterMs ?? null, x.index ?? null);
}

/** The socket went away before there was an answer: whether it was done is not known. */
export const lost = (message = "The connection was lost") => new RealtimeError("connection-lost", message, true);

export function asError(e: unknown): RealtimeError {
  return e instanceof RealtimeError ? e : new RealtimeError("unexpected", e instanceof Error ? e.message : String(e), true);
}

/** How long to wait before the attempt after `attempt` failures: half of 1, 2, 4 … 30 s, and up to as much again by chance, so that a thousand clients do not come back at once. */
export const backoff = (attempt: number, random: () => number) => Math.min(15_000, 500 * 2 ** attempt) * (1 + random());

/** How long to wait after an error: never less than the server says, and longer from one to the next, also where it says the same each time. */
export const pause = (error: Pick<RealtimeError, "retryAfterMs"> | null, failures: number, random: () => number) => Math.max(error?.retryAfterMs ?? 0, backoff(failures, random));
