/** A value that changes: what useSyncExternalStore, Svelte and Vue alike can follow. */
export interface Readable<T> {
  get(): T;
  /** Calls back after each change; answers what ends that. Some stores fetch and watch only while somebody subscribes. */
  subscribe(listener: () => void): () => void;
}

export interface Writable<T> extends Readable<T> {
  set(value: T): void;
}

/** Calls a function of somebody else's: its fault is reported, and stops nobody. */
export function guarded<A extends unknown[]>(fn: (...args: A) => void, ...args: A): void {
  try {
    fn(...args);
  } catch (error) {
    console.error(error);
  }
}

/** Ends two things at once. */
export const both = (a: () => void, b: () => void) => () => {
  a();
  b();
};

/** A store. With watch, that runs while there are subscribers, and a second longer: a list that is drawn anew is no new watch. */
export function store<T>(value: T, watch?: () => () => void): Writable<T> {
  const listeners = new Set<() => void>();
  const held = watch && hold(watch);
  return {
    get: () => value,
    set(next) {
      if (Object.is(next, value)) return;
      value = next;
      for (const listener of [...listeners]) guarded(listener);
    },
    subscribe(listener) {
      const own = () => listener();
      listeners.add(own);
      const release = held?.();
      return () => {
        if (listeners.delete(own)) release?.();
      };
    },
  };
}

/** Something that runs while somebody holds it, and `grace` longer. */
export function hold(begin: () => () => void, grace = 1000): () => () => void {
  let holders = 0, end: (() => void) | undefined, timer: ReturnType<typeof setTimeout> | undefined;
  return () => {
    clearTimeout(timer);
    holders++;
    end ??= begin();
    let held = true;
    return () => {
      if (!held) return;
      held = false;
      if (--holders) return;
      timer = setTimeout(() => {
        end?.();
        end = undefined;
      }, grace);
    };
  };
}

/** Values by key, each of which can be followed alone: a change of one wakes nobody who follows another. */
export interface Family<T> {
  get(key: string): T | undefined;
  set(key: string, value: T | undefined): void;
  of(key: string): Readable<T | undefined>;
  /** All of them; the map is another one after each change. */
  all: Readable<ReadonlyMap<string, T>>;
  clear(): void;
}

export function family<T>(watch?: (key: string) => () => void): Family<T> {
  const values = new Map<string, T>(), listeners = new Map<string, Set<() => void>>();
  const everyone = store(0);
  let copy: ReadonlyMap<string, T> | undefined;
  const tell = (key: string) => {
    copy = undefined;
    for (const listener of [...(listeners.get(key) ?? [])]) guarded(listener);
    everyone.set(everyone.get() + 1);
  };
  return {
    get: key => values.get(key),
    set(key, value) {
      if (Object.is(values.get(key), value)) return;
      if (value === undefined) values.delete(key);
      else values.set(key, value);
      tell(key);
    },
    of: key => ({
      get: () => values.get(key),
      subscribe(listener) {
        const own = () => listener();
        const set = listeners.get(key) ?? new Set();
        listeners.set(key, set.add(own));
        const release = watch?.(key);
        return () => {
          if (!set.delete(own)) return;
          if (!set.size && listeners.get(key) === set) listeners.delete(key);
          release?.();
        };
      },
    }),
    all: { get: () => (copy ??= new Map(values)), subscribe: everyone.subscribe },
    clear() {
      const keys = [...values.keys()];
      values.clear();
      keys.forEach(tell);
    },
  };
}

/** Events by name; a handler that throws stops no other. */
export interface Emitter<E> {
  on<K extends keyof E>(event: K, handler: (data: E[K]) => void): () => void;
  emit<K extends keyof E>(event: K, data: E[K]): void;
}

export function emitter<E>(): Emitter<E> {
  const handlers = new Map<keyof E, Set<(data: never) => void>>();
  return {
    on(event, handler) {
      const own = (data: never) => handler(data);
      const set = handlers.get(event) ?? new Set();
      handlers.set(event, set.add(own));
      return () => void set.delete(own);
    },
    emit(event, data) {
      for (const handler of [...(handlers.get(event) ?? [])]) guarded(handler, data as never);
    },
  };
}
