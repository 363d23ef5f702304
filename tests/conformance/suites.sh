# shellcheck shell=bash
# The suites: what each needs, which tests it has, how one is run. A result is pass, fail or skip.
#
#   mariadb      MariaDB's regression tests, main.*: those that ask for no server of their own
#   mariadb-ps   the same as prepared statements, wherever a statement can be one
#   php          PHP's tests of mysqli and PDO_MYSQL, from the source of Debian's PHP
#   pymysql      PyMySQL's. Its releases carry no tests since 0.8: those of 0.7.11 test release 1.1.1
#   mysql2       mysql2's (Node). Its releases carry no tests since 1.0: those of 0.15.8 test 3.x

SUITES=(mariadb mariadb-ps php pymysql mysql2)
MTR=${MTR_HOME:-/usr/share/mysql/mysql-test}

install_suite() { # SUITE
  case $1 in
    mariadb*) "$stack" install servers regression;;
    php) "$stack" install servers wordpress; fetch_php;;
    pymysql) "$stack" install servers python; fetch_pymysql;;
    mysql2) "$stack" install servers clients; fetch_mysql2;;
    *) echo "run: unknown suite '$1': ${SUITES[*]}" >&2; exit 2;;
  esac
}

# What is asked of the servers' configuration, a line each.
cnf_of() { # SUITE
  # root@localhost comes by TCP too
  printf '%s\n' skip_name_resolve=OFF max_connections=300 local_infile=ON
  case $1 in
    mariadb*)
      sed -n '/^\[mysqld\]/,/^\[embedded\]/p' "$MTR/include/default_mysqld.cnf" | sed -E '/^(#|\[|$)/d; s/ *= */=/' |
        grep -vE '^(disable-getopt|log-basename|secure-file|open-files|local-infile|loose-(feedback|pam|ssl|performance|innodb_(data_file|log_file)))'
      # a table may not be made twice in one place on one machine: replicas go on without it
      printf '%s\n' slave_skip_errors=all secure_file_priv= performance_schema=ON character_sets_dir=/usr/share/mysql/charsets;;
  esac
}

on_primary() { mariadb --no-defaults --user=root --socket="$dir/primary/socket" "$@"; }

# What the tests expect to find there.
prepare() { # SUITE
  on_primary --execute="DROP DATABASE wordpress; CREATE DATABASE test CHARACTER SET latin1"
  # MySQL takes none who comes by TCP for one of localhost
  [ "$db" = mariadb ] || on_primary --execute="CREATE USER root@'%'; GRANT ALL ON *.* TO root@'%' WITH GRANT OPTION"
  case $1 in
    mariadb*)
      # files are named from the servers' folders, as there
      ln -s "$MTR/std_data" "$dir/std_data"
      mkdir -m 777 "$dir/tmp"
      on_primary --execute="DELETE FROM mysql.global_priv WHERE user = ''; CREATE DATABASE mtr CHARACTER SET latin1"
      on_primary mysql <"$MTR/../mysql_test_data_timezone.sql"
      for file in mtr_warnings mtr_check; do
        sed '/^use mtr/d; /^ *--/d; s/^delimiter ||;/delimiter ||/' "$MTR/include/$file.sql" | on_primary mtr
      done
      on_primary mtr --execute="CREATE TABLE accounts_before AS SELECT CONCAT(User, '@', Host) name FROM mysql.global_priv;
        CREATE TABLE variables_before AS SELECT variable_name name, variable_type type, global_value value
          FROM information_schema.system_variables WHERE read_only = 'NO' AND global_value IS NOT NULL
          AND variable_name NOT LIKE 'gtid%' AND variable_name NOT LIKE 'rpl%' AND variable_name NOT LIKE 'innodb%'"
      mkdir "$dir/bin"
      ln -s /usr/bin/* "$dir/bin/"
      ln -sf "$here/clean" "$dir/bin/mariadb-test";;
    pymysql) on_primary --execute="CREATE DATABASE test_pymysql; CREATE DATABASE test_pymysql2";;
  esac
  "$stack" sync "$dir"
}

names_of() { # SUITE
  case $1 in
    mariadb*)
      local test
      cd "$MTR/main"
      for test in *.test; do
        test=${test%.test}
        # those with options or servers of their own
        for more in .opt -master.opt .cnf .combinations; do [ ! -e "$test$more" ] || continue 2; done
        ! grep -qE 'have_innodb|restart|have_debug|have_binlog|shutdown|have_perf|feedback|wait_until|have_ssl|not_embedded' "$test.test" || continue
        echo "main.$test"
      done;;
    php) (cd "$CACHE/php" && ls ext/mysqli/tests/*.phpt ext/pdo_mysql/tests/*.phpt);;
    pymysql) echo pymysql_tests;;   # it wants a server before it says which it has
    mysql2) (cd "$CACHE/mysql2/node_modules/mysql2/test/integration" && ls connection/test-*.js);;
  esac
}

# run_suite SUITE OUT TEST...: prints "TEST RESULT"; what the programs say goes to OUT
run_suite() {
  local suite=$1 out=$2
  shift 2
  : >"$out"
  case $suite in
    mariadb) run_mariadb "$out" "$@";;
    mariadb-ps) run_mariadb "$out" --ps-protocol "$@";;
    php) run_php "$out" "$@";;
    pymysql) run_pymysql "$out" "$@";;
    mysql2) run_mysql2 "$out" "$@";;
  esac
}

# told SUITE TEST: why it failed through Forebay, cut short
told() {
  local out=$work/$1.again
  case $1 in
    mariadb*) sed -n "/^$2 .*\[ fail/,/^ - s[ak]/p" "$out" | sed 1,2d | grep -a . | head -n 14;;
    php) cat "$work/php.diff/"*"$(basename "$2" .phpt).diff" 2>/dev/null | head -n 14;;
    mysql2) sed -n "\\#^---- $2\$#,/^---- /p" "$out" | tail -n +2 | head -n 14;;
    pymysql) sed -n "/^\(FAIL\|ERROR\): .*($2)/,/^====/p" "$out" | tail -n 14;;
  esac | cut -c 1-200
}

run_mariadb() { # OUT [OPTION...] TEST...
  local out=$1
  shift
  cd "$MTR"
  # the server writes files into the tests' folder
  umask 000
  CONFORMANCE_DIR=$dir CONFORMANCE_STACK=$stack CONFORMANCE_MYSQLTEST=/usr/bin/mariadb-test \
    perl ./mariadb-test-run.pl --client-bindir="$dir/bin" --vardir="$dir/var" --tmpdir="$dir/var/tmp" --build-thread=$((300 + RANDOM % 300)) \
    --extern "host=${ADDRESS%:*}" --extern "port=${ADDRESS#*:}" --extern user=root --extern protocol=tcp \
    --force --max-test-fail=0 --retry=0 --testcase-timeout=1 --suite-timeout=60 --nowarnings "$@" >"$out" 2>&1 || true
  awk '$2 == "[" && $3 ~ /^(pass|fail|skipped|disabled)$/ { print $1, ($3 == "pass" || $3 == "fail") ? $3 : "skip" }' "$out"
}

# PHP's are in the source of Debian's package only; apt gets it with lists of its own.
fetch_php() {
  [ ! -e "$CACHE/php/run-tests.php" ] || return 0
  local lists=$CACHE/php.apt from
  rm -rf "$lists" "$CACHE/php.half"
  mkdir -p "$lists/lists/partial" "$lists/archives/partial" "$CACHE/php.half"
  : >"$lists/status"
  # shellcheck disable=SC2016
  from=$(apt-get indextargets --format '$(REPO_URI) $(RELEASE)' 'Created-By: Packages' 'Component: main' | grep -v security | head -n 1)
  echo "deb-src [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] ${from% *} $(. /etc/os-release; echo "$VERSION_CODENAME") main" >"$lists/sources.list"
  local apt=(apt-get -qq -o "Dir::Etc::sourcelist=$lists/sources.list" -o Dir::Etc::sourceparts=/dev/null -o "Dir::State=$lists"
    -o "Dir::State::lists=$lists/lists" -o "Dir::State::status=$lists/status" -o "Dir::Cache=$lists" -o Debug::NoLocking=1 -o "APT::Sandbox::User=$(id -un)")
  "${apt[@]}" update
  (cd "$lists" && "${apt[@]}" --download-only source "php$(php -r 'echo PHP_MAJOR_VERSION, ".", PHP_MINOR_VERSION;')" >/dev/null)
  tar -xJf "$lists"/php*.orig.tar.xz -C "$CACHE/php.half" --strip-components=1 --wildcards '*/run-tests.php' '*/ext/mysqli/tests' '*/ext/pdo_mysql/tests' '*/ext/pdo/tests'
  mv "$CACHE/php.half" "$CACHE/php"
  rm -rf "$lists"
}

run_php() { # OUT TEST...
  local out=$1
  shift
  cp -r "$CACHE/php" "$dir/php"
  cd "$dir/php"
  env "MYSQL_TEST_HOST=${ADDRESS%:*}" "MYSQL_TEST_PORT=${ADDRESS#*:}" MYSQL_TEST_USER=root MYSQL_TEST_PASSWD= MYSQL_TEST_DB=test \
    "PDO_MYSQL_TEST_DSN=mysql:host=${ADDRESS%:*};port=${ADDRESS#*:};dbname=test" PDO_MYSQL_TEST_USER=root PDO_MYSQL_TEST_PASS= \
    "PDO_MYSQL_TEST_HOST=${ADDRESS%:*}" "PDO_MYSQL_TEST_PORT=${ADDRESS#*:}" \
    TEST_PHP_EXECUTABLE="$(command -v php)" NO_INTERACTION=1 php run-tests.php -q --offline --set-timeout 30 -g FAIL \
    -W "$dir/php.results" "$@" >"$out" 2>&1 || true
  mkdir -p "$work/php.diff"
  find . -name '*.diff' -exec cp {} "$work/php.diff/" \;
  awk '{ sub(/.*\/php\//, "", $2); print $2, $1 == "PASSED" ? "pass" : $1 == "SKIPPED" ? "skip" : "fail" }' "$dir/php.results"
}

RUN_PYTHON='
import sys, unittest, warnings
warnings.simplefilter("ignore")
class Result(unittest.TextTestResult):
    def stopTest(self, test):
        bad = [t for t, _ in self.errors + self.failures if t is test]
        skipped = [t for t, _ in self.skipped if t is test]
        print("pymysql", test.id(), "skip" if skipped else "fail" if bad else "pass", flush=True)
suite = unittest.defaultTestLoader.loadTestsFromNames(sys.argv[1:])
unittest.TextTestRunner(resultclass=Result, stream=sys.stderr).run(suite)'

fetch_pymysql() {
  [ ! -e "$CACHE/pymysql/pymysql_tests" ] || return 0
  local half=$CACHE/pymysql.half
  rm -rf "$half"
  mkdir -p "$half/old"
  python3 -m pip install --quiet --disable-pip-version-check --root-user-action=ignore --target "$half" PyMySQL==1.1.1 cryptography
  python3 -m pip install --quiet --disable-pip-version-check --root-user-action=ignore --target "$half/old" PyMySQL==0.7.11
  mv "$half/old/pymysql/tests" "$half/pymysql_tests"
  rm -rf "$half/old"
  # written for Python 2 too
  find "$half/pymysql_tests" -name '*.py' -exec sed -i -E '
    s/\bunittest2\b/unittest/g; s/pymysql\.tests/pymysql_tests/g
    s/^from \.*(pymysql)?\._compat import.*/PY2, CPYTHON, text_type = False, True, str/
    s/^from pymysql import util$/import types; util = types.SimpleNamespace(int2byte=lambda i: bytes([i]), byte2int=lambda b: b if isinstance(b, int) else b[0])/
    ' {} +
  mv "$half" "$CACHE/pymysql"
}

run_pymysql() { # OUT TEST...
  local out=$1
  shift
  cp -r "$CACHE/pymysql" "$dir/pymysql"
  cd "$dir/pymysql"
  printf '[{"host":"%s","port":%s,"user":"root","passwd":"","db":"test_pymysql","local_infile":true},{"host":"%s","port":%s,"user":"root","passwd":"","db":"test_pymysql2"}]' \
    "${ADDRESS%:*}" "${ADDRESS#*:}" "${ADDRESS%:*}" "${ADDRESS#*:}" >pymysql_tests/databases.json
  timeout 600 python3 -c "$RUN_PYTHON" "$@" 2>"$out" | sed -n 's/^pymysql //p' || true
}

fetch_mysql2() {
  [ ! -e "$CACHE/mysql2/node_modules/mysql2/test" ] || return 0
  local half=$CACHE/mysql2.half
  command -v npm >/dev/null || { echo "run: node and npm are missing" >&2; exit 1; }
  rm -rf "$half"
  mkdir -p "$half"
  (
    cd "$half"
    echo '{}' >package.json
    npm install --silent --no-audit --no-fund mysql2@3
    npm pack --silent mysql2@0.15.8 >/dev/null
    tar -xzf mysql2-0.15.8.tgz -C node_modules/mysql2 --strip-components=1 package/test
    # a part of the driver that went elsewhere
    sed -i '/sql_string/d' node_modules/mysql2/test/common.js
  )
  mv "$half" "$CACHE/mysql2"
}

run_mysql2() { # OUT TEST...
  local out=$1 test
  shift
  cd "$CACHE/mysql2/node_modules/mysql2/test/integration"
  for test in "$@"; do
    echo "---- $test" >>"$out"
    if env "MYSQL_HOST=${ADDRESS%:*}" "MYSQL_PORT=${ADDRESS#*:}" timeout 20 node "$test" >>"$out" 2>&1; then echo "$test pass"; else echo "$test fail"; fi
  done
}
