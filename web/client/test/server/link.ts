// A link between a client and a server that can be cut, and that cuts itself.
import { createServer, connect, type Socket } from "node:net";
import type { AddressInfo } from "node:net";

export class Link {
  private sockets = new Set<Socket>();
  private server = createServer(client => {
    if (this.down) return void client.resetAndDestroy();
    const upstream = connect(Number(new URL(this.to).port), "127.0.0.1");
    for (const [from, to] of [[client, upstream], [upstream, client]] as const) {
      this.sockets.add(from);
      from.on("error", () => to.destroy());
      from.on("close", () => {
        this.sockets.delete(from);
        to.destroy();
      });
      from.on("data", chunk => { if (!this.black) to.write(chunk); });
    }
  });
  down = false;
  /** Bytes vanish, and nobody is told. */
  black = false;
  cuts = 0;
  private constructor(private readonly to: string) {}

  static async to(url: string): Promise<Link> {
    const link = new Link(url);
    await new Promise<void>(r => link.server.listen(0, "127.0.0.1", r));
    return link;
  }
  get url() {
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}${new URL(this.to).pathname}`;
  }
  /** Resets what is open, in the middle of whatever it is. */
  cut() {
    this.cuts++;
    for (const s of [...this.sockets]) s.resetAndDestroy();
  }
  close() {
    this.cut();
    this.server.close();
  }
}
