// All unseen mail through node-imap and MailParser into JSON lines, attachments into files: what tutorials show.
const fs = require("node:fs");
const path = require("node:path");
const Imap = require("imap");
const { MailParser } = require("mailparser");

const [port, user, password, directory] = process.argv.slice(2);
const lines = fs.createWriteStream(path.join(directory, "mail.jsonl"));
const imap = new Imap({ user, password, host: "127.0.0.1", port: Number(port), tls: false });
let open = 1; // messages, files, and the fetch itself

function close() {
  if (--open === 0) lines.end(() => imap.end());
}

function store(stream, number) {
  const parser = new MailParser();
  const found = { number, files: [] };
  open++;
  parser.on("headers", (headers) => {
    found.headers = Object.fromEntries(headers);
  });
  parser.on("data", (part) => {
    if (part.type === "text") {
      found.text = part.text;
      found.html = part.html;
      return;
    }
    const file = path.join(directory, `${number}-${found.files.length}`);
    found.files.push({ file, name: part.filename, type: part.contentType });
    open++;
    part.content.on("end", () => part.release());
    part.content.pipe(fs.createWriteStream(file)).on("finish", close);
  });
  parser.on("end", () => {
    lines.write(`${JSON.stringify(found)}\n`);
    close();
  });
  stream.pipe(parser);
}

imap.once("ready", () => {
  imap.openBox("INBOX", false, (error) => {
    if (error) throw error;
    imap.search(["UNSEEN"], (failure, uids) => {
      if (failure) throw failure;
      const fetch = imap.fetch(uids, { bodies: "" });
      fetch.on("message", (message, number) => message.on("body", (stream) => store(stream, number)));
      fetch.once("error", (reason) => {
        throw reason;
      });
      fetch.once("end", close);
    });
  });
});
imap.connect();
