// The lines of the checklist of what an app is expected to do that need more than one look: two or three people, and a hand on the socket.

export const checklist = ({ base, operators, operatorsToken, someone, box, write, message, ticks, check, inOrder, audit }) => {
  const person = (page, name) => page.getByRole("complementary").locator(".person", { hasText: name });
  const dot = (page, name, word) => person(page, name).getByRole("img", { name: word, exact: true }).waitFor();
  const typing = page => page.locator(".typing > span[aria-hidden]");
  const until = async (what, fn) => {
    for (const end = Date.now() + 60_000; !(await fn());) {
      check(Date.now() < end, `never: ${what}`);
      await new Promise(r => setTimeout(r, 50));
    }
  };
  /** Keys, until what they bring about is seen: on a busy machine a single one may be over before. */
  async function keys(pages, seen, stop = true) {
    for (const p of pages) await box(p).press("h");
    await until("seen typing", async () => (await seen()) || (await Promise.all(pages.map(p => box(p).press("h"))), false));
    if (stop) for (const p of pages) await box(p).fill("");
  }
  /** Opens the settings, and says who is to see the presence. */
  const circle = async (page, word) => {
    await page.getByRole("button", { name: "Settings" }).click();
    const group = page.getByRole("radiogroup", { name: "Who sees my presence" });
    await group.getByText(word, { exact: true }).click();
    await until(word, () => group.getByRole("radio", { name: word }).isChecked());
    await page.getByRole("button", { name: "Close" }).click();
    await page.getByRole("dialog").waitFor({ state: "detached" });
  };
  /** A hand on a page's sockets: what goes through it may be held, and answered in the server's place. */
  function hand() {
    const is = { sockets: [], tokens: 0, seen: [], hold: null, answer: null, ack: null };
    const kept = [];
    is.before = async context => {
      context.on("request", r => { if (r.url().includes("/demo/token")) is.tokens++; });
      await context.routeWebSocket(/\/graphql/, ws => {
        const server = ws.connectToServer();
        ws.onMessage(text => {
          const { id, payload } = JSON.parse(text), name = /^\w+ (\w+)/.exec(payload?.query ?? "")?.[1];
          if (name) is.seen.push(name);
          if (name && name === is.hold) return void kept.push(() => server.send(text));
          const own = is.answer && name === "Send" && is.answer(payload.variables.input);
          if (!own) return server.send(text);
          ws.send(JSON.stringify({ id, type: "next", payload: { data: { sendMessages: { results: own } } } }));
          ws.send(JSON.stringify({ id, type: "complete" }));
        });
        server.onMessage(text => {
          const m = JSON.parse(text);
          if (m.type === "connection_ack") is.sockets.push(ws); // those that were let in: a slow machine dials twice
          if (m.type === "connection_ack" && is.ack) ws.send(JSON.stringify({ ...m, payload: is.ack(m.payload) }));
          else ws.send(text);
        });
      });
    };
    is.release = () => {
      is.hold = null;
      kept.splice(0).forEach(f => f());
    };
    return is;
  }
  const refused = (code, text, retryable) => input => input.map(i => ({ clientMessageId: i.clientMessageId, status: "failed", duplicate: false, message: null, error: { code, message: text, retryable, retryAfterMs: null } }));

  return {
    async "who types is seen, each by name and where; who does not want it is not"() {
      const [alice, bob, dave] = await Promise.all(["alice", "bob", "dave"].map(n => someone(n)));
      await keys([bob, dave], async () => /Bob.*Dave|Dave.*Bob/.test(await typing(alice).innerText()));
      await alice.locator(".typing i").waitFor({ state: "detached" });
      await keys([bob], async () => (await typing(alice).innerText()).includes("Bob"), false); // and no more keys: it ends by itself
      await alice.locator(".typing i").waitFor({ state: "detached" });
      await box(bob).fill("");
      await dave.getByRole("button", { name: "Settings" }).click();
      await dave.getByText("Show that I am typing").click();
      await until("it is off", async () => !(await dave.getByLabel("Show that I am typing").isChecked()));
      await dave.getByRole("button", { name: "Close" }).click();
      await box(dave).press("h");
      let names = "";
      await keys([bob, dave], async () => (names = await typing(alice).innerText()).includes("Bob"));
      check(!names.includes("Dave"), names);
      // In a thread, and not in its channel.
      for (const page of [alice, bob]) {
        await page.getByRole("button", { name: /repl(y|ies)$/ }).first().click();
        await page.getByRole("heading", { name: "Thread" }).waitFor();
      }
      await keys([bob], async () => {
        const elsewhere = await typing(dave).innerText();
        check(!elsewhere.includes("Bob"), `in the channel: ${elsewhere}`);
        return (await typing(alice).innerText()).includes("Bob");
      });
      await audit(alice, "a thread");
    },
    async "contacts alone, a closed window, and who was last seen when"() {
      const [alice, bob, frank, dave] = await Promise.all(["alice", "bob", "frank", "dave"].map(n => someone(n)));
      await dot(frank, "Bob", "Online");
      await dave.context().close();
      await circle(bob, "My contacts");
      await dot(frank, "Bob", "Offline");
      await dot(alice, "Bob", "Online");
      await bob.getByRole("button", { name: "Settings" }).click();
      const seen = bob.getByRole("region", { name: "Seen as" });
      for (const [who, word] of [["stranger", "Offline"], ["contact", "Online"]]) await seen.locator("div", { hasText: `Seen by a ${who}` }).getByRole("img", { name: word }).waitFor();
      await bob.getByRole("button", { name: "Close" }).click();
      await circle(bob, "Everyone");
      await dot(frank, "Bob", "Online");
      await dot(alice, "Dave", "Offline");
      await person(alice, "Dave").getByText(/^last seen (just now|\d+ min ago)$/).waitFor(); // by the minute
    },
    async "sending, refused, tried again; what was missed; tokens that end"() {
      const on = hand(), soon = () => new Date(Date.now() + 8000).toISOString();
      on.ack = a => ({ ...a, expiresAt: on.sockets.length === 1 ? soon() : a.expiresAt });
      const [alice, bob] = await Promise.all([someone("alice", undefined, on.before), someone("bob")]);
      on.hold = "Send";
      await write(alice, "on its way");
      await ticks(alice, "on its way", "Sending");
      on.release();
      await alice.locator(".message", { hasText: "on its way" }).getByRole("img", { name: /Sent|Delivered|Read/ }).waitFor();
      on.answer = refused("access-denied", "You may not write here", false);
      await write(alice, "not wanted at first");
      await ticks(alice, "not wanted at first", "Not sent");
      await message(alice, "not wanted at first").getByText("You may not write here").waitFor();
      await audit(alice, "a message that failed");
      on.answer = refused("rate-limited", "Later", true); // and then it is tried again by itself
      const tries = on.seen.filter(n => n === "Send").length;
      await message(alice, "not wanted at first").getByRole("button", { name: "Try again" }).click();
      await until("tried twice", () => on.seen.filter(n => n === "Send").length >= tries + 2);
      on.answer = null;
      await alice.locator(".message", { hasText: "not wanted at first" }).getByRole("img", { name: /Sent|Delivered|Read/ }).waitFor();
      await inOrder(bob, ["on its way", "not wanted at first"]);
      // The token that ends soon was replaced meanwhile, on the same socket.
      await until("another token", () => on.seen.includes("Refresh"));
      check(on.sockets.length === 1, `${on.sockets.length} sockets`);
      const tokens = on.tokens;
      await on.sockets[0].close({ code: 4403, reason: "expired" });
      await until("dialled anew", () => on.sockets.length === 2 && on.tokens > tokens);
      await alice.getByText(/^Connected/).waitFor();
      // What happened while she was away.
      const missed = ["missed, one", "missed, two", "missed, three"];
      await alice.context().setOffline(true);
      await alice.getByText("You are offline").waitFor();
      await audit(alice, "offline");
      await write(bob, ...missed);
      await ticks(bob, missed[2], "Sent");
      await bob.getByRole("button", { name: /^Status|Online.*▾|Status/ }).first().click();
      await bob.getByRole("option", { name: "Do not disturb" }).click();
      on.hold = "Sync";
      await alice.context().setOffline(false);
      await alice.getByRole("progressbar", { name: "Synchronizing" }).waitFor();
      on.release();
      await inOrder(alice, missed);
      await dot(alice, "Bob", "Do not disturb");
      await bob.getByRole("button", { name: /Do not disturb/ }).first().click();
      await bob.getByRole("option", { name: "Online" }).click();
      await dot(alice, "Bob", "Online");
    },
    async "who hides the page, or does nothing, is away; who comes back is there"() {
      const on = hand();
      const [alice, bob] = await Promise.all([someone("alice"), someone("bob", undefined, async context => {
        await on.before(context);
        await context.clock.install();
      })]);
      await dot(alice, "Bob", "Online");
      // A browser without a screen hides no page: this one says that it is, as it would.
      const hide = hidden => bob.evaluate(hidden => {
        for (const [name, value] of [["hidden", hidden], ["visibilityState", hidden ? "hidden" : "visible"]]) Object.defineProperty(document, name, { configurable: true, value });
        document.dispatchEvent(new Event("visibilitychange", { bubbles: true }));
      }, hidden);
      await hide(true);
      await dot(alice, "Bob", "Away"); // HIDDEN_AFTER
      await hide(false);
      await dot(alice, "Bob", "Online");
      // Nothing for longer than IDLE_AFTER, by the page's clock: the server hears of it with the next socket.
      await bob.clock.fastForward("06:00");
      await on.sockets.at(-1).close({ code: 1012, reason: "restart" });
      await dot(alice, "Bob", "Away");
      await bob.mouse.move(100, 100);
      await bob.mouse.move(200, 200);
      await dot(alice, "Bob", "Online");
    },
    async "a page that is frozen knows all when it thaws; a session that is revoked is told so, once"() {
      const [alice, bob] = await Promise.all(["alice", "bob"].map(n => someone(n))), lines = ["to the frozen page", "and a second to it"];
      const cdp = await alice.context().newCDPSession(alice);
      await cdp.send("Page.setWebLifecycleState", { state: "frozen" });
      await write(bob, ...lines);
      await bob.locator(".message", { hasText: lines[1] }).getByRole("img", { name: /Sent|Delivered|Read/ }).waitFor();
      await cdp.send("Page.setWebLifecycleState", { state: "active" });
      await inOrder(alice, lines);
      await write(alice, "thawed");
      await message(bob, "thawed").waitFor();

      let sockets = 0;
      bob.on("websocket", () => sockets++);
      const get = async () => (await fetch(`${base}/demo/token?user=bob`)).text(), old = await get();
      await bob.context().route("**/demo/token*", r => r.fulfill({ body: old }));
      const ended = await fetch(`${operators}/admin/users/primary/00000000-0000-4000-8000-000000000002/end`, { method: "POST", headers: { authorization: `Bearer ${operatorsToken}` } });
      check(ended.status === 204, `ended: ${ended.status}`);
      await bob.locator(".banner.bad").waitFor();
      await bob.getByText("needs-auth", { exact: true }).waitFor();
      const dialled = sockets;
      await until("a token that is accepted", async () => {
        const { data } = await (await fetch(`${base}/v1/graphql`, { method: "POST", headers: { "content-type": "application/json", authorization: `Bearer ${await get()}` }, body: '{"query":"{ myPresence { status } }"}' })).json();
        return data?.myPresence;
      });
      check(sockets === dialled && dialled <= 4, `${sockets} sockets of one who was let go, after ${dialled}`);
      await bob.context().unroute("**/demo/token*");
      await bob.reload();
      await bob.getByText(/^Connected/).waitFor();
    },
  };
};
