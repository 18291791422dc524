/** What it takes a command to start, beside Node itself. */
import { median, round, type Scenario } from "./scenario.ts";
import { makeWorld } from "./world.ts";

export const start: Scenario = async (quick) => {
  const { primary } = await makeWorld();
  const commands = {
    // The program is an argument there, and not loaded.
    node: () => primary.run([], { nodeArgs: ["-e", "0"] }),
    version: () => primary.run(["--version"]),
    help: () => primary.run(["sync", "--help"]),
    list: () => primary.run(["list"]),
  };
  const times = { node: [], version: [], help: [], list: [] } as Record<keyof typeof commands, number[]>;
  for (let i = 0; i < (quick ? 5 : 15); i++) {
    for (const [name, run] of Object.entries(commands)) {
      const started = performance.now();
      const { code } = await run();
      times[name as keyof typeof commands].push(performance.now() - started);
      if (code !== 0) throw new Error(`${name} ended with ${code}`);
    }
  }
  const node = median(times.node);
  const [version, help, list] = [times.version, times.help, times.list].map((all) => round(median(all) / node)) as [
    number,
    number,
    number,
  ];
  return {
    figures: { node_ms: round(node, 0), version, sync_help: help, list },
    must: "`--version` and `sync --help` <= 2.5 x `node -e 0`; `list` on a running server <= 3.5 x",
    pass: version <= 2.5 && help <= 2.5 && list <= 3.5,
  };
};
