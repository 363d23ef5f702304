# Logs in, writes a number and reads it back: what each cell of the matrix does.
# matrix.py HOST PORT USER PASSWORD DATABASE NUMBER [CA]
import sys

import pymysql

host, port, user, password, database, number = sys.argv[1:7]
more = {"ssl_ca": sys.argv[7], "ssl_verify_cert": True} if len(sys.argv) > 7 else {"ssl_disabled": True}
link = pymysql.connect(host=host, port=int(port), user=user, password=password, database=database, **more)
with link.cursor() as cursor:
    cursor.execute("INSERT INTO matrix VALUES (%s)", (int(number),))
    link.commit()
    cursor.execute("SELECT n FROM matrix WHERE n = %s", (int(number),))
    print(cursor.fetchone()[0])
link.close()
