import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { Pair } from "./Pair";
import { Start } from "./Start";
import "./style.css";
import { Window } from "./Window";
import { users } from "./world";

const asked = new URLSearchParams(location.search), root = createRoot(document.getElementById("root")!);

users().then(all => {
  const find = (name: string | null) => all.find(u => u.name.toLowerCase() === name?.toLowerCase());
  const one = find(asked.get("user")), two = (asked.get("users") ?? "").split(",").flatMap(n => find(n) ?? []);
  root.render(
    <StrictMode>
      {one ? <Window me={one} users={all} /> : two.length > 1 ? <Pair users={two.slice(0, 2)} /> : <Start users={all} />}
    </StrictMode>,
  );
}).catch((e: unknown) => root.render(<main className="start"><h1>No server</h1><p>{String(e)}</p></main>));
