/** Loaded into a measured command by `node --import`: says at its end what the process's own high-water mark of memory was. */
import { writeFileSync } from "node:fs";

process.on("exit", () => {
  if (process.env.SP_RSS) writeFileSync(process.env.SP_RSS, String(process.resourceUsage().maxRSS * 1024));
});
