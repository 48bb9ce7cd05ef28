// For long (make soak BROWSER=600): two users, 200 messages, a network that comes and goes, a server that is killed. Both end with the same, whole.

const OFFLINE = 3000, EVERY = 15_000, EACH = 100;

export const flaky = ({ someone, box, check, ask, message }, seconds) => ({
  async "a flaky network and a killed server: both histories equal, none lost, doubled or out of order"() {
    const names = ["alice", "bob"], pages = [await someone("alice"), await someone("bob")], end = Date.now() + seconds * 1000;
    const pause = ms => new Promise(r => setTimeout(r, Math.max(0, ms)));
    const text = (who, i) => `${names[who]} ${String(i).padStart(3, "0")} of ${EACH}`;
    async function writes(who) {
      for (let i = 1; i <= EACH; i++) {
        await box(pages[who]).fill(text(who, i));
        await box(pages[who]).press("Enter");
        await pause((end - Date.now()) / (EACH - i + 1));
      }
    }
    async function comesAndGoes() {
      for (let turn = 0; Date.now() + EVERY < end; turn++) {
        const context = pages[turn % 2].context();
        await pause(EVERY - OFFLINE);
        await context.setOffline(true);
        await pause(OFFLINE);
        await context.setOffline(false);
      }
    }
    async function dies() {
      await pause(seconds * 400);
      await ask("kill");
      await pause(5000);
      await ask("start");
    }
    await Promise.all([writes(0), writes(1), comesAndGoes(), dies()]);
    const histories = [];
    for (const page of pages) {
      for (const who of [0, 1]) for (let i = 1; i <= EACH; i++) await message(page, text(who, i)).first().waitFor();
      await page.getByText("to be sent").waitFor({ state: "detached" });
      histories.push((await page.locator(".message .bubble > p").allTextContents()).filter(t => t.endsWith(` of ${EACH}`)));
    }
    check(histories[0].length === 2 * EACH, `${histories[0].length} messages`);
    check(histories[0].join("\n") === histories[1].join("\n"), `the histories differ:\n${histories.map(h => h.join(", ")).join("\n")}`);
    for (const who of [0, 1]) {
      const own = histories[0].filter(t => t.startsWith(names[who])), want = Array.from({ length: EACH }, (_, i) => text(who, i + 1));
      check(own.join() === want.join(), `${names[who]}: ${own.join()}`);
    }
  },
});
