/** A server of a test's own on a free port of loopback. */
import { once } from "node:events";
import type { AddressInfo, Server } from "node:net";

/** Listens until the end of `test`. @returns the port. */
export async function listen(test: { teardown(work: () => void): unknown }, server: Server): Promise<number> {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  test.teardown(() => void server.close());
  return (server.address() as AddressInfo).port;
}
