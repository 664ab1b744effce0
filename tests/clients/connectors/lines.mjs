// What the scripts that are asked line by line share: one JSON object in, one JSON object out.

import { createInterface } from "node:readline";

export function say(object) {
  process.stdout.write(`${JSON.stringify(object)}\n`);
}

/** What went wrong, as text that is never empty. */
export function textOf(error) {
  return String(error?.message || error || "unknown");
}

/** Answers every line of the input, in order, until there are no more. */
export async function answerLines(answer) {
  say({ ready: true });
  for await (const line of createInterface({ input: process.stdin, crlfDelay: Infinity })) {
    if (line.trim() === "") continue;
    try {
      say(await answer(JSON.parse(line)));
    } catch (error) {
      say({ error: textOf(error) });
    }
  }
}
