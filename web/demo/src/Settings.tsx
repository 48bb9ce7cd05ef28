import type { Doc, Presence, PresenceSettings, PresenceSettingsInput, Visibility } from "@nchat/realtime";
import { usePresenceSettings, useRealtimeClient, useStore } from "@nchat/realtime/react";
import { useEffect, useState } from "react";
import { Button, Label, Radio, RadioGroup, Switch, Tab, TabList, TabPanel, Tabs } from "react-aria-components";
import { Dot, statusWords } from "./parts";
import { ago, clock } from "./world";

export function Settings() {
  return (
    <Tabs className="tabs">
      <TabList aria-label="Settings"><Tab id="privacy">Privacy</Tab><Tab id="sessions">Sessions</Tab></TabList>
      <TabPanel id="privacy"><Privacy /></TabPanel>
      <TabPanel id="sessions"><Sessions /></TabPanel>
    </Tabs>
  );
}

type Flag = "showOnlineStatus" | "showLastSeen" | "allowReadReceipts" | "allowDeliveryReceipts" | "broadcastTyping" | "invisibleMode";
const flags: [Flag, string][] = [
  ["showOnlineStatus", "Show whether I am here"], ["showLastSeen", "Show when I was last seen"], ["allowReadReceipts", "Tell what I have read"],
  ["allowDeliveryReceipts", "Tell what has reached me"], ["broadcastTyping", "Show that I am typing"], ["invisibleMode", "Be invisible to everybody"],
];
const circles: [Visibility, string][] = [["everyone", "Everyone"], ["contacts", "My contacts"], ["nobody", "Nobody"]];

function Privacy() {
  const { settings, updateSettings, error } = usePresenceSettings();
  if (!settings) return <p className="aside">Not known yet.</p>;
  const circle = (label: string, field: "visibility" | "typingVisibility") => (
    <RadioGroup className="radios" value={settings[field]} onChange={v => void updateSettings({ [field]: v } as PresenceSettingsInput)}>
      <Label>{label}</Label>
      <div className="row">{circles.map(([v, word]) => <Radio key={v} value={v} className="radio">{word}</Radio>)}</div>
    </RadioGroup>
  );
  return (
    <>
      {circle("Who sees my presence", "visibility")}
      {circle("Who sees me typing", "typingVisibility")}
      {flags.map(([flag, word]) => (
        <Switch key={flag} className="switch" isSelected={settings[flag]} onChange={on => void updateSettings({ [flag]: on })}><span className="knob" />{word}</Switch>
      ))}
      {error && <p role="alert" className="wrong">{error}</p>}
      <SeenAs settings={settings} />
    </>
  );
}

const Preview: Doc<{ stranger: Presence; contact: Presence }, Record<string, never>> =
  "query Preview{stranger:previewPresence(as:stranger){...P}contact:previewPresence(as:contact){...P}}fragment P on Presence{userId status customStatus{text emoji expiresAt} lastSeenAt device}";

/** What others see of the caller, as the server computes it; asked again with each change. */
function SeenAs({ settings }: { settings: PresenceSettings }) {
  const { connection, presence } = useRealtimeClient(), mine = useStore(presence.mine), [seen, setSeen] = useState<Record<string, Presence> | null>(null);
  useEffect(() => {
    let left = false;
    connection.request(Preview, {}).then(d => { if (!left) setSeen(d); }, () => { if (!left) setSeen(null); });
    return () => { left = true; };
  }, [connection, settings, mine]);
  return (
    <section aria-label="Seen as" className="seen" aria-live="polite">
      {(["stranger", "contact"] as const).map(who => {
        const p = seen?.[who];
        return (
          <div key={who}>
            <h3>Seen by a {who}</h3>
            {p ? <p><Dot status={p.status} /> {statusWords[p.status]}{p.customStatus && <> · {p.customStatus.emoji} {p.customStatus.text}</>}{p.lastSeenAt && <> · last seen {ago(new Date(p.lastSeenAt))}</>}</p> : <p className="aside">Not known while offline.</p>}
          </div>
        );
      })}
    </section>
  );
}

const SignOut: Doc<{ signOutSession: boolean }, { sessionId: string }> = "mutation SignOut($sessionId:uuid!){signOutSession(sessionId:$sessionId)}";

function Sessions() {
  const { connection, presence } = useRealtimeClient(), mine = useStore(presence.mine), [error, setError] = useState("");
  if (!mine) return <p className="aside">Not known yet.</p>;
  return (
    <ul className="sessions">
      {mine.sessions.map(s => (
        <li key={s.id}>
          <Dot status={s.idle ? "away" : "online"} />
          <div>
            <span className="name">{s.name ?? s.device}{s.current && " (this window)"}</span>
            <span className="aside">since {clock(s.connectedAt)}, active {ago(new Date(s.lastActiveAt))}{s.latencyMs != null && `, ${s.latencyMs} ms`}</span>
          </div>
          {!s.current && <Button className="button" aria-label={`Sign out ${s.name ?? s.device}`} onPress={() => void connection.request(SignOut, { sessionId: s.id }).then(() => setError(""), (e: Error) => setError(e.message))}>Sign out</Button>}
        </li>
      ))}
      {error && <li role="alert" className="wrong">{error}</li>}
    </ul>
  );
}
