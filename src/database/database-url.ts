/** Where a database of the operator's own is, from its URL. Pure. */
import { SandpiperError } from "../errors.ts";

/**
 * How to reach the database at a URL: TLS, verified, unless it is on this machine.
 *
 * @param login the name to log in with when the URL has none.
 * @throws `config` for what is not a PostgreSQL URL, or asks for less.
 */
export function external(
  text: string,
  login = "",
): { connectionString: string; ssl: false | { rejectUnauthorized: true; minVersion: "TLSv1.2" } } {
  let url: URL;
  try {
    // libpq also takes a URL without a host, for a socket: postgres://user@/database?host=/run/postgresql.
    url = new URL(text.replace(/^(postgres(?:ql)?:\/\/(?:[^@/]*@)?)\//, "$1localhost/"));
  } catch (cause) {
    throw new SandpiperError("config", "database.url is not a URL", {
      cause,
      hint: "Use postgres://USER:PASSWORD@HOST:PORT/DATABASE.",
    });
  }
  if (url.protocol !== "postgres:" && url.protocol !== "postgresql:") {
    throw new SandpiperError("config", `database.url must begin with postgres://, not ${url.protocol}//`, {
      hint: "Only PostgreSQL is supported.",
    });
  }
  const host = url.searchParams.get("host") ?? url.hostname;
  const local = host === "" || host.startsWith("/") || /^(localhost|127\.\d+\.\d+\.\d+|\[?::1\]?)$/.test(host);
  // pg would take `ssl=0` or `ssl=no-verify` from the URL over all that it is told beside it.
  const weak = [...url.searchParams].find(([name, value]) => name === "ssl" && value !== "true" && value !== "1");
  if (!local && weak !== undefined) {
    throw new SandpiperError(
      "config",
      `database.url asks for ssl=${weak[1]}, which is not allowed for a remote database`,
      {
        hint: "Remove ssl; name a private authority in NODE_EXTRA_CA_CERTS.",
      },
    );
  }
  url.searchParams.delete("ssl");
  url.searchParams.delete("uselibpqcompat");
  const mode = url.searchParams.get("sslmode");
  if (!local && mode !== null && mode !== "verify-full") {
    throw new SandpiperError(
      "config",
      `database.url asks for sslmode=${mode}, which is not allowed for a remote database`,
      {
        hint: "Remove sslmode, or use sslmode=verify-full; name a private authority in NODE_EXTRA_CA_CERTS.",
      },
    );
  }
  url.searchParams.delete("sslmode");
  if (url.username === "" && !url.searchParams.has("user")) url.username = login;
  return { connectionString: url.toString(), ssl: local ? false : { rejectUnauthorized: true, minVersion: "TLSv1.2" } };
}
