// Slack's own types say whether blocks are valid: the TypeScript compiler reads them as source.
//
// In: `blocks`. Out: `valid`, and `errors` as text.

import { join } from "node:path";
import ts from "typescript";
import { answerLines } from "./lines.mjs";

const options = {
  noEmit: true,
  strict: true,
  skipLibCheck: true,
  target: ts.ScriptTarget.ESNext,
  module: ts.ModuleKind.ESNext,
  moduleResolution: ts.ModuleResolutionKind.Bundler,
  types: [],
};

// The file lies beside the packages, but only in memory.
const file = join(import.meta.dirname, "blocks-to-check.ts");
let source;
const host = ts.createCompilerHost(options);
const { fileExists, readFile, getSourceFile } = host;
host.fileExists = (path) => path === file || fileExists(path);
host.readFile = (path) => (path === file ? source : readFile(path));
// Everything but the blocks stays as it is.
const known = new Map();
host.getSourceFile = (path, ...more) => {
  if (path === file) return ts.createSourceFile(path, source, options.target, true);
  if (!known.has(path)) known.set(path, getSourceFile(path, ...more));
  return known.get(path);
};

await answerLines(({ blocks }) => {
  const json = JSON.stringify(blocks, null, 2);
  source = `import type { KnownBlock } from "@slack/types";\nconst blocks = ${json} satisfies KnownBlock[];\nexport default blocks;\n`;
  const found = ts.getPreEmitDiagnostics(ts.createProgram([file], options, host));
  const errors = ts.formatDiagnostics(found, {
    getCanonicalFileName: (name) => name,
    getCurrentDirectory: () => import.meta.dirname,
    getNewLine: () => "\n",
  });
  return { valid: found.length === 0, errors };
});
