import { Chat } from "./chat";
import { Presence } from "./presence";

const GENERAL = "00000000-0000-4000-9000-000000000001", ALICE = "00000000-0000-4000-8000-000000000001";

export default function Page() {
  return (
    <main>
      <h1>general</h1>
      <p>Alice is <Presence userId={ALICE} />.</p>
      <Chat channelId={GENERAL} />
    </main>
  );
}
