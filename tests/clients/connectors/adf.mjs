// Atlassian's own schema of its document format says whether a document is valid.
//
// In: `doc`. Out: `valid`, and `errors`.

import { createRequire } from "node:module";
import Ajv from "ajv-draft-04";
import { answerLines } from "./lines.mjs";

const MANY = 30;

const schema = createRequire(import.meta.url)("@atlaskit/adf-schema/dist/json-schema/v1/full.json");
const isDocument = new Ajv({ strict: false, allErrors: true }).compile(schema);

await answerLines(({ doc }) => {
  const valid = isDocument(doc);
  const errors = (isDocument.errors ?? []).map(({ instancePath, message }) => `${instancePath || "/"} ${message}`);
  // A node that fits nowhere fails against every kind of node.
  return { valid, errors: [...new Set(errors)].slice(0, MANY) };
});
