// Logs in, writes a number and reads it back: what each cell of the matrix does.
// matrix.js HOST PORT USER PASSWORD DATABASE NUMBER [CA]
const fs = require('fs');
const mysql = require('mysql2/promise');

async function main() {
  const [host, port, user, password, database, number, ca] = process.argv.slice(2);
  const ssl = ca ? { ca: fs.readFileSync(ca), rejectUnauthorized: true } : undefined;
  const link = await mysql.createConnection({ host, port: Number(port), user, password, database, ssl });
  await link.query('INSERT INTO matrix VALUES (?)', [Number(number)]);
  const [rows] = await link.query('SELECT n FROM matrix WHERE n = ?', [Number(number)]);
  // As its prepared statements too, which go by the binary protocol.
  const [again] = await link.execute('SELECT n FROM matrix WHERE n = ?', [Number(number)]);
  if (again[0].n !== rows[0].n) throw new Error('read differently');
  console.log(rows[0].n);
  await link.end();
}

main().catch((error) => {
  console.error(`${error.errno} ${error.message}`);
  process.exit(1);
});
