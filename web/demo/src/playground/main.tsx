import "graphiql/setup-workers/vite";
import "@graphiql/react/style.css";
import "@graphiql/plugin-doc-explorer/style.css";
import "@graphiql/plugin-history/style.css";
import "graphiql/graphiql.css";
import "./style.css";
import { GraphiQL } from "graphiql";
import { type ComponentProps, type FormEvent, useEffect, useState } from "react";
import { createRoot } from "react-dom/client";
import { examples } from "./examples";
import { type Link, link } from "./link";

type Fetcher = ComponentProps<typeof GraphiQL>["fetcher"];
const nobody: Fetcher = () => ({ errors: [{ message: "Enter a token first: the server printed one for each of Alice, Bob and Carol." }] }) as never;
const KEPT = "nchat-playground-token"; // for this tab alone

function Playground() {
  const [token, setToken] = useState(() => sessionStorage.getItem(KEPT) ?? "");
  const [state, setState] = useState("not connected");
  const [at, setAt] = useState<{ token: string; link: Link } | null>(null);
  useEffect(() => {
    if (!token) return;
    const opened = link(token, setState);
    setAt({ token, link: opened });
    return () => {
      opened.close();
      setAt(null);
    };
  }, [token]);
  const enter = (e: FormEvent<HTMLFormElement>) => {
    e.preventDefault();
    const given = String(new FormData(e.currentTarget).get("token")).trim().replace(/^Bearer\s+/i, "");
    sessionStorage.setItem(KEPT, given);
    setToken(given);
    setState("not connected");
  };
  return (
    <>
      <form className="token" onSubmit={enter}>
        <h1>nchat-realtime</h1>
        <label htmlFor="token">Token</label>
        <input id="token" name="token" defaultValue={token} placeholder="paste one that the server printed" autoComplete="off" spellCheck={false} />
        <button type="submit">Use it</button>
        <output>{at ? state : "no token"}</output>
      </form>
      {/* Another token is another schema's reader and another socket: all anew, but for the tabs, which are kept. */}
      <GraphiQL key={at?.token ?? ""} schema={at ? undefined : null} defaultTabs={examples} isHeadersEditorEnabled={false}
        fetcher={at ? at.link.fetch as Fetcher : nobody} />
    </>
  );
}

createRoot(document.getElementById("root")!).render(<Playground />);
