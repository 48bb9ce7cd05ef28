import type { PresenceStatus } from "@nchat/realtime";
import { useRealtimeClient, useRealtimeContext } from "@nchat/realtime/react";
import { useState, useSyncExternalStore } from "react";
import { Button, Dialog, DialogTrigger, Heading, Input, Label, ListBox, ListBoxItem, Modal, Popover, Select, SelectValue, Switch, TextField } from "react-aria-components";
import type { Network } from "./network";
import { Avatar, Dot, statusWords } from "./parts";
import { Settings } from "./Settings";
import { useNames } from "./world";

const statuses: PresenceStatus[] = ["online", "away", "busy", "offline"];

/** Oneself: what others are to see, the plug, and the settings. */
export function Self({ net }: { net: Network }) {
  const { me } = useNames(), plugged = useSyncExternalStore(net.subscribe, net.get);
  const { presenceStatus, setPresenceStatus, customStatus, connectionState, averageLatency } = useRealtimeContext();
  const line = customStatus ? [customStatus.emoji, customStatus.text].filter(Boolean).join(" ") : "Say more";
  return (
    <>
      <span className="face"><Avatar id={me.id} name={me.name} /><Dot status={connectionState === "connected" ? presenceStatus : "offline"} /></span>
      <div className="self">
        <span className="name">{me.name}</span>
        <span className="aside">{connectionState === "connected" ? (averageLatency === null ? "Connected" : `Connected, ${Math.round(averageLatency)} ms`) : connectionState}</span>
      </div>
      <Select className="select" aria-label="Status" selectedKey={presenceStatus} onSelectionChange={k => setPresenceStatus(k as PresenceStatus)}>
        <Button className="button"><SelectValue>{() => statusWords[presenceStatus]}</SelectValue><span aria-hidden="true">▾</span></Button>
        <Popover className="popover">
          <ListBox>{statuses.map(s => <ListBoxItem key={s} id={s} textValue={statusWords[s]}><Dot status={s} /> {statusWords[s]}</ListBoxItem>)}</ListBox>
        </Popover>
      </Select>
      <DialogTrigger>
        <Button className="button" aria-label={`Custom status: ${line}`}>{line}</Button>
        <Popover className="popover"><Dialog aria-label="Custom status">{({ close }) => <Line close={close} />}</Dialog></Popover>
      </DialogTrigger>
      <span className="grow" />
      <Switch className="switch" isSelected={plugged} onChange={net.plug}><span className="knob" />Network</Switch>
      <DialogTrigger>
        <Button className="button">Settings</Button>
        <Modal className="modal" isDismissable>
          <Dialog>{({ close }) => <><Heading slot="title">Settings of {me.name}</Heading><Settings /><Button className="button" onPress={close}>Close</Button></>}</Dialog>
        </Modal>
      </DialogTrigger>
    </>
  );
}

function Line({ close }: { close: () => void }) {
  const { presence } = useRealtimeClient(), now = presence.mine.get()?.customStatus;
  const [emoji, setEmoji] = useState(now?.emoji ?? "🍵"), [text, setText] = useState(now?.text ?? ""), [hour, setHour] = useState(false), [error, setError] = useState("");
  const set = (to: Parameters<typeof presence.setCustomStatus>[0]) => presence.setCustomStatus(to).then(close, (e: Error) => setError(e.message));
  return (
    <form className="line" onSubmit={e => { e.preventDefault(); void set({ emoji: emoji.trim() || null, text: text.trim() || null, expiresAt: hour ? new Date(Date.now() + 3_600_000) : null }); }}>
      <TextField value={emoji} onChange={setEmoji} className="field emoji"><Label>Emoji</Label><Input /></TextField>
      <TextField value={text} onChange={setText} className="field" autoFocus><Label>What you are up to</Label><Input /></TextField>
      <Switch className="switch" isSelected={hour} onChange={setHour}><span className="knob" />For an hour</Switch>
      <div className="row">
        <Button type="submit" className="button primary">Set</Button>
        <Button className="button" onPress={() => void set(null)}>Clear</Button>
      </div>
      {error && <p role="alert" className="wrong">{error}</p>}
    </form>
  );
}
