/** Sends every bad input (bad-inputs.ts) to servers that go on serving, and looks at what they answer, log, and lose, and what each costs them. */
import { once } from "node:events";
import { connect } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { requestInit } from "../harness/request.ts";
import type { Party } from "../integration/parties.ts";
import { type Crowd, guessIds, sayNothing } from "./bad-crowds.ts";
import { type BadInputWorld, makeWorld } from "./bad-input-world.ts";
import { type BadInput, badInputs, type Sent } from "./bad-inputs.ts";
import type { Figures } from "./figures.ts";
import { residentMb } from "./resident.ts";
import type { Teardown } from "./subject.ts";
import { closeCodeOf } from "./websocket-wire.ts";
import { weighCommand } from "./weigh/command.ts";
import { judge, weighAlone } from "./weigh/judge.ts";
import { allowed, Scales } from "./weigh/scales.ts";

/** What came back: a status, close code or exit code, and the whole text; of a command also the memory that it took. */
interface Outcome {
  got: number;
  text: string;
  peakMb?: number;
}

type Side = "primary" | "secondary";

/** What an answer may not tell: a stack, SQL, a path of the server's, versions. */
const inside =
  /\bat .*\.js:\d|\bSELECT\b|\bINSERT\b|\bFROM \w+ WHERE\b|node_modules|\/tmp\/|\/home\/|\/dev\/shm|pg_|postgres|express|node\.js/i;

/** @param healthySyncs run beside the inputs, one after another. */
export async function sendBadInputs(
  test: Teardown,
  { healthySyncs, patient }: { healthySyncs: number; patient: boolean },
  tell: (fault: string) => void,
): Promise<Figures> {
  const world = await makeWorld(test);
  const inputs = badInputs(world).filter((input) => patient || input.patient === undefined);
  const figures = {
    inputs: inputs.length,
    "not as specified": 0,
    "5xx": 0,
    leaks: 0,
    restarts: 0,
    "failed syncs": 0,
    "log lines too many or few": 0,
    "servers over memory": 0,
    "too heavy": 0,
  };
  const books = { primary: await Book.open(world.primary), secondary: await Book.open(world.secondary) };
  const subject = (name: Side) => ({ name, url: world[name].server!.url, pid: world[name].server!.pid });
  const scales = await Scales.set(subject("primary"), subject("secondary"));
  /** How to do each row once more, by its name. */
  const again = new Map<string, () => Promise<unknown>>();
  const plainMb = commandMb(world);
  const fault = (name: keyof typeof figures, what: string) => {
    figures[name]++;
    tell(`${name}: ${what}`);
  };

  const healthy = async () => {
    for (let n = 0; n < healthySyncs; n++) {
      await world.primary.batch("Own", [
        { delete_key: "part 1" },
        { add: { grain_key: "part 1", source: "", encoding: "raw", payload: `${n}` } },
      ]);
      const run = await world.secondary.run(["sync", "--retry-for", "0"]);
      books.primary.requests += 2; // the login, and the list
      if (run.code !== 0) fault("failed syncs", `exit ${run.code}: ${run.stderr}`);
    }
  };

  const check = async (input: BadInput) => {
    const book = books[input.at ?? "primary"];
    if ("raw" in input.sent || "call" in input.sent) book.requests++;
    book.requests++; // whether it is alive
    again.set(input.name, () => send(world, input));
    const { got, text, peakMb }: Outcome = await scales.row(input.name, () =>
      send(world, input).catch((error) => ({ got: -1, text: String(error) })),
    );
    if (peakMb !== undefined && peakMb - (await plainMb) > allowed.grownMb)
      fault("too heavy", `${input.name}: the command takes ${Math.round(peakMb)} MB`);
    if (got !== input.expect)
      fault("not as specified", `${input.name}: ${got}, not ${input.expect} ${text.slice(-400)}`);
    else if (input.says !== undefined && !input.says.test(text)) fault("not as specified", `${input.name}: ${text}`);
    // How soon it says so, the scales see.
    if (!(await alive(world[input.at ?? "primary"])))
      fault("not as specified", `${input.name}: the server is not well`);
    await book.weigh();
    if ("frames" in input.sent) return;
    if ("command" in input.sent) {
      if (/\bat .*\.js:\d/.test(text) || text.includes("hunter2")) fault("leaks", `${input.name}: ${text}`);
      return;
    }
    if (got >= 500) fault("5xx", input.name);
    const body = text.slice(text.indexOf("\r\n\r\n") + 4);
    const leaked = [...world.secrets, world.foreign, world.foreignGrain].some((secret) => body.includes(secret));
    if (leaked || inside.test(text)) fault("leaks", `${input.name}: ${text}`);
    if (got < 400) return;
    const problem =
      Buffer.byteLength(body) <= 512 && /\r\ncontent-type: application\/problem\+json; charset=utf-8/i.test(text);
    const { status, code } = JSON.parse(problem ? body : "{}") as { status?: number; code?: string };
    if (status !== got || (input.code !== undefined && code !== input.code))
      fault("not as specified", `${input.name}: ${text}`);
  };

  const crowd = async (name: string, come: () => Promise<Crowd>) => {
    again.set(name, come);
    const { wrong, logged } = await scales.row(name, come);
    books.primary.requests += logged;
    for (const what of wrong) fault("not as specified", what);
  };
  const guesses = (count: number) => crowd(`${count} ids that are guessed`, () => guessIds(world, count));

  const running = healthy();
  const crowds = patient
    ? [guesses(10_000), crowd("1,000 connections that say nothing", () => sayNothing(world, 1000))]
    : [];
  if (!patient) await guesses(200);
  // The order counts for a few (guesses at a password): two lanes, of whole groups.
  const slow = inputs.filter(isSlow);
  const lane = async (all: readonly BadInput[]) => {
    for (const input of all) await check(input);
  };
  await Promise.all([
    running,
    ...crowds,
    lane(inputs.filter((input) => !isSlow(input))),
    ...slow.map((input) => lane([input])),
  ]);

  const weights = await scales.weights();
  await scales.end();
  for (const side of ["primary", "secondary"] as const) books[side].requests += scales.asked(side);
  for (const book of Object.values(books)) {
    const { party } = book;
    const server = party.server!;
    const [logged, grown] = [await book.logged(), book.grownMb];
    if (logged !== book.requests)
      fault("log lines too many or few", `${party.role}: ${logged} lines for ${book.requests} requests`);
    if (grown > mostGrownMb) fault("servers over memory", `${party.role}: ${grown} MB`);
    tell(`the ${party.role} logged ${logged} requests, and grew by ${grown} MB at most`);
    book.requests++;
    if (!(await alive(party)) || (await Promise.race([server.exited.then(() => true), sleep(0, false)])))
      fault("restarts", `${party.role}: ${server.stderr().slice(-2000)}`);
    for (const line of server.stderr().trim().split("\n")) {
      const entry = asJson(line);
      if (entry === undefined) fault("leaks", `a log line that is no JSON: ${line}`);
      if (world.secrets.some((secret) => line.includes(secret)) || line.includes("hunter2")) fault("leaks", line);
      if ((entry?.status ?? 0) >= 500 || (entry?.level ?? 0) >= 50) fault("5xx", line);
    }
  }
  // Whatever was under way when a server was too late or too large: once more, alone, at one that has just started.
  const heavy = await judge(weights, async ({ row, at }) => {
    await world.restart(at as Side);
    return weighAlone(subject(at as Side), again.get(row)!);
  });
  for (const what of heavy) fault("too heavy", what);
  return figures;
}

/** What a command takes that has little to do. */
async function commandMb({ secondary }: BadInputWorld): Promise<number> {
  return (await weighCommand(secondary.start(["slice", "list"]), commandMs)).peakMb;
}

/** How much a server may grow over all inputs, among which is a line of 40 MB, and passwords to check, which take 20 MB each. */
const mostGrownMb = 128;

/** A command that takes longer hangs. */
const commandMs = 60_000;

/** What a server should have logged, and how much memory it takes. */
class Book {
  /** Requests since it was opened. */
  requests = 0;
  #peakMb = 0;

  private constructor(
    readonly party: Party,
    private readonly before: number,
    private readonly beforeMb: number,
  ) {}

  static async open(party: Party): Promise<Book> {
    await alive(party);
    await sleep(300);
    return new Book(party, requestLines(party), await residentMb(party));
  }

  /** Lines of requests since then; what was just answered may take a moment to be logged. */
  async logged(): Promise<number> {
    const lines = () => requestLines(this.party) - this.before;
    for (let n = 0; n < 40 && lines() < this.requests; n++) await sleep(50);
    return lines();
  }

  async weigh(): Promise<void> {
    this.#peakMb = Math.max(this.#peakMb, await residentMb(this.party));
  }

  get grownMb(): number {
    return Math.round(this.#peakMb - this.beforeMb);
  }
}

const requestLines = ({ server }: Party): number =>
  server!.stderr().match(/"event":"(http\.request|sync\.refused)"/g)?.length ?? 0;

const alive = (party: Party): Promise<boolean> =>
  fetch(`${party.server!.url}/healthz`).then(
    ({ status }) => status === 200,
    () => false,
  );

const isSlow = ({ sent, patient }: BadInput) => patient || "command" in sent || ("raw" in sent && sent.pauseMs === 200);

function asJson(line: string): { status?: number; level?: number } | undefined {
  try {
    return JSON.parse(line);
  } catch {
    return undefined;
  }
}

async function send(world: BadInputWorld, { sent, at = "primary" }: BadInput): Promise<Outcome> {
  const party = world[at];
  const url = party.server!.url;
  if ("command" in sent) {
    const started = party.start(sent.command, {
      ...(sent.input === undefined ? {} : { input: sent.input }),
      ...(sent.env === undefined ? {} : { env: sent.env }),
    });
    const run = await weighCommand(started, commandMs);
    return { got: run.code ?? -1, text: run.stdout + run.stderr, peakMb: run.peakMb };
  }
  const port = Number(new URL(url).port);
  if ("frames" in sent)
    return { got: await closeCodeOf(port, world.prober, sent.frames, sent.withinMs ?? 3000), text: "" };
  if ("raw" in sent) return sendRaw(port, sent);
  return sendCall(url, sent);
}

async function sendCall(
  url: string,
  { call, token, json, body, headers }: Extract<Sent, { call: string }>,
): Promise<Outcome> {
  const [method, path] = call.split(" ") as [string, string];
  const answer = await fetch(url + path, requestInit(method, { token, body: json, raw: body, headers }));
  const lines = [...answer.headers].map(([name, value]) => `${name}: ${value}\r\n`).join("");
  return { got: answer.status, text: `HTTP/1.1 ${answer.status}\r\n${lines}\r\n${await answer.text()}` };
}

async function sendRaw(port: number, { raw, pauseMs }: Extract<Sent, { raw: unknown }>): Promise<Outcome> {
  const socket = connect(port, "127.0.0.1");
  let text = "";
  socket.on("data", (piece) => {
    text += piece;
  });
  socket.on("error", () => {});
  const closed = once(socket, "close");
  const pieces = Array.isArray(raw) ? (raw as readonly (string | Buffer)[]) : [raw as string | Buffer];
  for (const piece of pieces) {
    if (socket.destroyed || text !== "") break;
    socket.write(piece);
    if (pauseMs !== undefined) await sleep(pauseMs);
  }
  // A request that is never complete is given up by whoever sent it; one that came slowly must be by the server.
  const timer = setTimeout(() => socket.end(), pauseMs === undefined ? 1500 : 15_000);
  await closed;
  clearTimeout(timer);
  return { got: Number(/^HTTP\/1\.1 (\d{3})/.exec(text)?.[1] ?? 0), text };
}
