// A client of Jira Cloud, over version 3 of its API: an issue from its creation until it is done.
//
// Its first argument is JSON: `url`, `project`, `email`, `token`. It prints whether all went well.

import assert from "node:assert/strict";
import { Version3Client } from "jira.js";

const { url, project, email, token } = JSON.parse(process.argv[2]);
const LABEL = "entl-probe";

function say(object, code) {
  process.stdout.write(`${JSON.stringify(object)}\n`, () => process.exit(code));
}

setTimeout(() => say({ ok: false, error: "gave up after 30 seconds" }, 1), 30_000).unref();

function document(text) {
  return { type: "doc", version: 1, content: [{ type: "paragraph", content: [{ type: "text", text }] }] };
}

async function probe() {
  const jira = new Version3Client({
    host: url,
    authentication: { basic: { email, apiToken: token } },
    baseRequestConfig: { proxy: false, timeout: 10_000 },
  });

  const summary = "A probe by jira.js";
  const description = document("What jira.js says of it.");
  const created = await jira.issues.createIssue({
    fields: { project: { key: project }, issuetype: { name: "Task" }, summary, description, labels: [LABEL] },
  });
  const { id, key } = created;
  assert.ok(id && key.startsWith(`${project}-`), `created: ${JSON.stringify(created)}`);

  const read = async () => (await jira.issues.getIssue({ issueIdOrKey: key })).fields;
  const fields = await read();
  assert.equal(fields.summary, summary);
  assert.deepEqual(fields.description, description);
  assert.deepEqual(fields.labels, [LABEL]);
  assert.equal(fields.issuetype.name, "Task");
  assert.equal(fields.project.key, project);
  assert.notEqual(fields.status.statusCategory.key, "done");

  const body = document("A comment by jira.js.");
  const comment = await jira.issueComments.addComment({ issueIdOrKey: key, comment: body });
  const { comments, total } = await jira.issueComments.getComments({ issueIdOrKey: key });
  assert.deepEqual(comments.map((one) => [one.id, one.body]), [[comment.id, body]]);
  assert.equal(total, 1);

  const { transitions } = await jira.issues.getTransitions({ issueIdOrKey: key });
  const done = transitions.find(({ to }) => to.statusCategory.key === "done");
  assert.ok(done, `no transition leads to done: ${JSON.stringify(transitions)}`);
  await jira.issues.doTransition({ issueIdOrKey: key, transition: { id: done.id } });
  assert.equal((await read()).status.statusCategory.key, "done");

  // The same global id again changes the link that is there.
  const globalId = `entl-probe=${key}`;
  const ids = [];
  for (const title of ["first", "second"]) {
    const object = { url: "https://example.com/probe", title };
    const link = await jira.issueRemoteLinks.createOrUpdateRemoteIssueLink({ issueIdOrKey: key, globalId, object });
    ids.push(link.id);
  }
  const links = await jira.issueRemoteLinks.getRemoteIssueLinks({ issueIdOrKey: key });
  assert.deepEqual(links.map((one) => [one.id, one.globalId, one.object.title]), [[ids[0], globalId, "second"]]);
  assert.equal(ids[1], ids[0]);

  // Searches may lag.
  const jql = `project = "${project}" AND labels = "${LABEL}"`;
  const end = Date.now() + 5000;
  for (;;) {
    const { issues } = await jira.issueSearch.searchForIssuesUsingJqlEnhancedSearch({
      jql,
      fields: ["summary", "labels", "status"],
    });
    const found = (issues ?? []).find((one) => one.key === key);
    if (found) {
      assert.deepEqual([found.id, found.fields.summary], [id, summary]);
      assert.deepEqual(found.fields.labels, [LABEL]);
      break;
    }
    assert.ok(Date.now() < end, "the search did not find the issue in 5 seconds");
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  return key;
}

try {
  say({ ok: true, key: await probe() }, 0);
} catch (error) {
  const answer = error?.cause?.response;
  const said = answer ? ` (${answer.config?.method} ${answer.config?.url}: ${JSON.stringify(answer.data)})` : "";
  say({ ok: false, error: `${error?.message || error}${said}` }, 1);
}
