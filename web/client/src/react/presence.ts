"use client";

import { useCallback, useEffect, useMemo, useState } from "react";
import type { PresenceSettingsInput, PresenceStatus, Visibility } from "../generated.js";
import { asCustomStatus, asUserPresence, type CustomStatus, type UserPresence } from "../legacy.js";
import { family, type Readable } from "../store.js";
import type { Presence, PresenceSettings, PresenceVisibility } from "../types.js";
import { useChosen, useHeld, useHolds, useKeyed, useRealtimeClient, useStore } from "./context.js";

export interface FilteredUserPresence extends UserPresence { canViewOnlineStatus: boolean; canViewLastSeen: boolean; isContact: boolean }

export interface UseRealtimePresenceOptions {
  userIds?: string[];
  /** The server runs the timers of idle and hidden: these are taken, and change nothing. */
  enableIdleDetection?: boolean;
  idleTimeout?: number;
  /** Set once, if given. */
  initialStatus?: PresenceStatus;
  /** The server filters, always. */
  enablePrivacyFiltering?: boolean;
}

export interface UserPresenceResult {
  presence: UserPresence | undefined;
  /** Not told yet. Nothing about a user who is hidden is told as offline, not as loading. */
  isLoading: boolean;
}

export interface UseRealtimePresenceReturn {
  status: PresenceStatus;
  customStatus: CustomStatus | null;
  isIdle: boolean;
  presences: Map<string, UserPresence>;
  filteredPresences: Map<string, FilteredUserPresence>;
  setStatus: (status: PresenceStatus) => void;
  setCustomStatus: (status: CustomStatus | null) => void;
  clearCustomStatus: () => void;
  subscribeToUsers: (userIds: string[]) => void;
  unsubscribeFromUsers: (userIds: string[]) => void;
  getPresence: (userId: string) => UserPresence | undefined;
  getFilteredPresence: (userId: string) => FilteredUserPresence | undefined;
  fetchPresence: (userIds: string[]) => Promise<Map<string, UserPresence>>;
  fetchFilteredPresence: (userIds: string[]) => Promise<Map<string, FilteredUserPresence>>;
  presenceSettings: PresenceSettings | null;
  updatePresenceSettings: (settings: PresenceSettingsInput) => Promise<boolean>;
  isInvisible: boolean;
  setInvisibleMode: (enabled: boolean) => Promise<boolean>;
  refreshPresenceSettings: () => Promise<void>;
}

const nobody = family<Presence>().of("");
const noMap: Readable<ReadonlyMap<string, Presence>> = { get: () => new Map(), subscribe: () => () => {} };
const empty = noMap.get();
noMap.get = () => empty;
const nothing = { get: () => null, subscribe: () => () => {} };

/** One user, or many and oneself. */
export function useRealtimePresence(userId: string): UserPresenceResult;
export function useRealtimePresence(options?: UseRealtimePresenceOptions): UseRealtimePresenceReturn;
export function useRealtimePresence(what: string | UseRealtimePresenceOptions = {}): UserPresenceResult | UseRealtimePresenceReturn {
  const one = typeof what === "string" ? what : null;
  const single = useSingle(one), many = useMany(typeof what === "string" ? null : what);
  return one === null ? many : single;
}

function useSingle(userId: string | null): UserPresenceResult {
  const client = useRealtimeClient();
  const p = useKeyed(() => (userId ? client.presence.user(userId) : nobody), [client, userId]);
  return useMemo(() => ({ presence: p && asUserPresence(p), isLoading: !p }), [p]);
}

// null: somebody asks for one user alone. Nothing of oneself is watched then.
function useMany(options: UseRealtimePresenceOptions | null): UseRealtimePresenceReturn {
  const { client } = useHeld(), { presence } = client;
  const mine = useStore(options ? presence.mine : nothing), activity = useStore(options ? presence.activity : nothing), all = useStore(options ? presence.all : noMap);
  const settings = useStore(options ? presence.settings : nothing), info = useStore(options ? client.connection : nothing);
  const [filtered, setFiltered] = useState(new Map<string, FilteredUserPresence>());
  const watched = useHolds(useCallback((id: string) => presence.watch(id), [presence]));
  const ids = (options?.userIds ?? []).join(), initial = options?.initialStatus;
  useEffect(() => {
    const offs = ids ? ids.split(",").map(presence.watch) : [];
    return () => offs.forEach(f => f());
  }, [presence, ids]);
  useEffect(() => { if (initial) void presence.setStatus(initial).catch(() => {}); }, [presence, initial]);
  const presences = useMemo(() => new Map([...all].map(([id, p]) => [id, asUserPresence(p)])), [all]);
  const [status, setStatus] = useChosen(presence, mine, info?.state === "connected");
  return useMemo((): UseRealtimePresenceReturn => {
    const setCustomStatus = (s: CustomStatus | null) => void presence.setCustomStatus(s).catch(() => {});
    const update = (input: PresenceSettingsInput) => presence.updateSettings(input).then(() => true, () => false);
    const fetched = async (userIds: string[]) => new Map((await presence.fetch(userIds)).map(p => [p.userId, asUserPresence(p)]));
    return {
      status, customStatus: asCustomStatus(mine?.customStatus) ?? null, isIdle: activity?.idle ?? false, presences, filteredPresences: filtered,
      setStatus, setCustomStatus, clearCustomStatus: () => setCustomStatus(null),
      subscribeToUsers: list => list.forEach(watched.add), unsubscribeFromUsers: list => list.forEach(watched.drop),
      getPresence: id => presences.get(id), getFilteredPresence: id => filtered.get(id), fetchPresence: fetched,
      async fetchFilteredPresence(userIds) {
        const [seen, rights] = await Promise.all([fetched(userIds), Promise.all(userIds.map(presence.visibility))]);
        const map = new Map(userIds.flatMap((id, i) => {
          const p = seen.get(id), v: PresenceVisibility | null | undefined = rights[i];
          return p && v ? [[id, { ...p, canViewOnlineStatus: v.canViewOnlineStatus, canViewLastSeen: v.canViewLastSeen, isContact: v.isContact }] as const] : [];
        }));
        setFiltered(old => new Map([...old, ...map]));
        return map;
      },
      presenceSettings: settings, updatePresenceSettings: update, isInvisible: settings?.invisibleMode ?? mine?.invisible ?? false,
      setInvisibleMode: enabled => update({ invisibleMode: enabled }), refreshPresenceSettings: async () => {}, // they come by themselves
    };
  }, [status, setStatus, mine, activity, presences, filtered, presence, settings, watched.add, watched.drop]);
}

export const useUserPresence = (userId: string): UserPresence | undefined => useSingle(userId).presence;

export function useUserOnlineStatus(userId: string): boolean {
  const p = useUserPresence(userId);
  return !!p && p.status !== "offline";
}

/** The caller's privacy settings. */
export function usePresenceSettings() {
  const { presence } = useRealtimeClient(), settings = useStore(presence.settings), [error, setError] = useState<string | null>(null);
  return useMemo(() => {
    const updateSettings = async (updates: PresenceSettingsInput): Promise<boolean> => {
      try {
        await presence.updateSettings(updates);
        setError(null);
        return true;
      } catch (e) {
        setError((e as Error).message);
        return false;
      }
    };
    return {
      settings, isLoading: !settings, error, updateSettings, refresh: async () => {},
      setVisibility: (visibility: Visibility) => updateSettings({ visibility }),
      setShowLastSeen: (showLastSeen: boolean) => updateSettings({ showLastSeen }),
      setShowOnlineStatus: (showOnlineStatus: boolean) => updateSettings({ showOnlineStatus }),
      setAllowReadReceipts: (allowReadReceipts: boolean) => updateSettings({ allowReadReceipts }),
      setInvisibleMode: (invisibleMode: boolean) => updateSettings({ invisibleMode }),
    };
  }, [presence, settings, error]);
}
