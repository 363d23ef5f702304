//! The statements of WordPress, WooCommerce and their plugins.

use super::check_table;

#[test]
fn what_wordpress_sends() {
    check_table(TABLE);
}

const TABLE: &str = r##"
SET NAMES utf8mb4 ==> P Set names:Session
SET NAMES 'utf8mb4' COLLATE 'utf8mb4_unicode_520_ci' ==> P Set names:Session
SELECT @@SESSION.sql_mode ==> U SERVER_FACT
SET SESSION sql_mode='NO_ZERO_IN_DATE,ONLY_FULL_GROUP_BY' ==> P Set sql_mode:Session
DO 1 ==> P Do
SELECT option_name, option_value FROM wp_options WHERE autoload IN ( 'yes', 'on', 'auto-on', 'auto' ) ==> R wp_options
SELECT option_value FROM wp_options WHERE option_name = 'x' LIMIT 1 ==> R wp_options
SELECT option_name, option_value FROM wp_options WHERE option_name IN ('_transient_a','_transient_timeout_a') ==> R wp_options
SELECT option_value FROM wp_options WHERE option_name = '_transient_doing_cron' LIMIT 1 ==> R wp_options
SELECT autoload FROM wp_options WHERE option_name = 'x' ==> R wp_options
INSERT INTO `wp_options` (`option_name`, `option_value`, `autoload`) VALUES ('a', 'b', 'on') ON DUPLICATE KEY UPDATE `option_name` = VALUES(`option_name`), `option_value` = VALUES(`option_value`) ==> P Insert WRITES >wp_options
INSERT IGNORE INTO `wp_options` ( `option_name`, `option_value`, `autoload` ) VALUES ('x.lock', '1', 'off') /* LOCK */ ==> P Insert WRITES >wp_options
UPDATE wp_options SET option_value='n' WHERE option_name='l' AND option_value='o' ==> P Update WRITES >wp_options
UPDATE `wp_options` SET `option_value` = 'a:18:{i:1;s:1:\"x\";}' WHERE `option_name` = 'cron' ==> P Update WRITES >wp_options
DELETE a, b FROM wp_options a, wp_options b WHERE a.option_name LIKE '\\_transient\\_%' AND b.option_value < 5 ==> P Delete WRITES >wp_options
SELECT SQL_CALC_FOUND_ROWS  wp_posts.ID FROM wp_posts  WHERE 1=1  AND ((wp_posts.post_type = 'post' AND (wp_posts.post_status = 'publish'))) ORDER BY wp_posts.post_date DESC LIMIT 0, 10 ==> R CALC_FOUND_ROWS wp_posts
SELECT FOUND_ROWS() ==> P DIAGNOSTICS
SELECT FOUND_ROWS(); ==> P DIAGNOSTICS
SELECT SQL_CALC_FOUND_ROWS wp_comments.comment_ID FROM wp_comments WHERE ( ( comment_approved = '1' ) ) ORDER BY comment_date_gmt DESC LIMIT 0,5 ==> R CALC_FOUND_ROWS wp_comments
SELECT wp_posts.* FROM wp_posts WHERE ID IN (1,2) ==> R wp_posts
SELECT post_id, meta_key, meta_value FROM wp_postmeta WHERE post_id IN (1) ORDER BY meta_id ASC ==> R wp_postmeta
SELECT DISTINCT t.term_id, tr.object_id FROM wp_terms AS t INNER JOIN wp_term_taxonomy AS tt ON t.term_id = tt.term_id INNER JOIN wp_term_relationships AS tr ON tr.term_taxonomy_id = tt.term_taxonomy_id WHERE tt.taxonomy IN ('category') AND tr.object_id IN (1) ORDER BY t.name ASC ==> R wp_terms wp_term_taxonomy wp_term_relationships
SELECT user_id, meta_key, meta_value FROM wp_usermeta WHERE user_id IN (1) ORDER BY umeta_id ASC ==> R wp_usermeta
SELECT * FROM wp_users WHERE user_login = 'a' LIMIT 1 ==> R wp_users
SELECT umeta_id FROM wp_usermeta WHERE meta_key = 'session_tokens' AND user_id = 1 ==> R wp_usermeta
INSERT INTO `wp_usermeta` (`user_id`, `meta_key`, `meta_value`) VALUES (1, 'session_tokens', 'a:1:{}') ==> P Insert WRITES >wp_usermeta
SELECT comment_ID FROM wp_comments WHERE comment_post_ID = 1 AND comment_parent = '0' AND comment_approved != 'trash' AND ( comment_author = 'a' OR comment_author_email = 'b' ) AND comment_content = 'x' LIMIT 1 ==> R wp_comments
INSERT INTO `wp_comments` (`comment_post_ID`, `comment_author`) VALUES (1, 'a') ==> P Insert WRITES >wp_comments
SHOW FULL COLUMNS FROM `wp_options` ==> R Show wp_options
SHOW TABLES LIKE 'wp\\_users' ==> R Show ?
DESCRIBE wp_users; ==> R Describe wp_users
SHOW INDEX FROM wp_users; ==> R Show wp_users
CREATE TABLE wp_x ( id bigint(20) unsigned NOT NULL auto_increment, k varchar(191) NOT NULL default '', PRIMARY KEY  (id), KEY k (k) ) DEFAULT CHARACTER SET utf8mb4 ==> P Ddl WRITES MAY_BLOCK IMPLICIT_COMMIT >wp_x
CREATE TABLE IF NOT EXISTS `wp_x` (id int) ==> P Ddl WRITES MAY_BLOCK IMPLICIT_COMMIT >wp_x
ALTER TABLE wp_x ADD COLUMN y int ==> P Ddl WRITES MAY_BLOCK IMPLICIT_COMMIT >wp_x
DROP TABLE IF EXISTS wp_x, wp_y ==> P Ddl WRITES MAY_BLOCK IMPLICIT_COMMIT >wp_x >wp_y
TRUNCATE TABLE wp_wc_category_lookup ==> P Ddl WRITES MAY_BLOCK IMPLICIT_COMMIT >wp_wc_category_lookup
SHOW TABLE STATUS ==> U Show SERVER_FACT
SHOW VARIABLES LIKE 'max_allowed_packet' ==> U Show SERVER_FACT
SELECT VERSION() ==> U SERVER_FACT
SELECT @@version ==> U SERVER_FACT
SELECT table_name, engine FROM information_schema.TABLES WHERE table_schema = 'wordpress' ==> R information_schema.TABLES ?
SELECT MAX(date_created), COUNT(*) AS n FROM wp_wc_order_stats GROUP BY status ORDER BY n DESC ==> R wp_wc_order_stats
SELECT( ( SELECT COUNT(1) FROM wp_posts WHERE post_type = 'shop_order' ) + ( SELECT COUNT(1) FROM wp_wc_orders ) ) AS c ==> R wp_wc_orders wp_posts
(SELECT ID FROM wp_posts) UNION ALL (SELECT comment_ID FROM wp_comments) ORDER BY 1 LIMIT 5 ==> R wp_posts wp_comments
/* comment */ SELECT 1 FROM wp_posts ==> R wp_posts
-- x\nSELECT 1 FROM wp_posts ==> R wp_posts
# x\nSELECT 1 FROM wp_posts ==> R wp_posts
SELECT /*!40001 SQL_NO_CACHE */ * FROM `wp_posts` ==> R wp_posts
/*!50003 SET sql_mode = '' */ ==> P Other WRITES CALLS_UNKNOWN DANGER
/*M!100100 SELECT 1 */ ==> P Other WRITES CALLS_UNKNOWN DANGER
WITH x AS (SELECT ID FROM wp_posts) SELECT * FROM x ==> R wp_posts
WITH x AS (SELECT ID FROM wp_posts) DELETE FROM wp_posts WHERE ID IN (SELECT ID FROM x) ==> P Delete WRITES ?
WITH x AS (SELECT ID FROM wp_posts) UPDATE wp_posts SET a = 1 ==> P Update WRITES ?
SELECT * FROM wp_posts WHERE ID = 1 FOR UPDATE ==> P LOCKS_ROWS
SELECT * FROM wp_posts WHERE ID = 1 FOR UPDATE; ==> P LOCKS_ROWS
SELECT * FROM wp_posts LIMIT 1 FOR UPDATE SKIP LOCKED ==> P LOCKS_ROWS
SELECT * FROM wp_posts FOR UPDATE OF wp_posts NOWAIT ==> P LOCKS_ROWS
SELECT * FROM wp_posts FOR SHARE ==> P LOCKS_ROWS
SELECT * FROM wp_posts LOCK IN SHARE MODE ==> P LOCKS_ROWS
INSERT INTO wp_wc_reserved_stock ( `order_id`, `product_id` ) SELECT 1, 2 FROM DUAL WHERE ( SELECT meta_value FROM wp_postmeta WHERE post_id = 2 FOR UPDATE ) - ( SELECT COALESCE( SUM( stock_quantity ), 0 ) FROM wp_wc_reserved_stock ) >= 1 ON DUPLICATE KEY UPDATE `expires` = VALUES( `expires` ) ==> P Insert WRITES LOCKS_ROWS wp_wc_reserved_stock wp_postmeta >wp_wc_reserved_stock
INSERT INTO wp_postmeta ( post_id, meta_key, meta_value ) SELECT 5, '_coupon_held_1', '' FROM wp_posts WHERE ( SELECT COUNT(meta_id) FROM wp_postmeta FOR UPDATE ) + ( SELECT 1 ) < 1 LIMIT 1 ==> P Insert WRITES LOCKS_ROWS wp_posts wp_postmeta >wp_postmeta
INSERT INTO wp_actionscheduler_actions ( `hook`, `status` ) SELECT 'a', 'pending' FROM DUAL WHERE ( SELECT action_id FROM wp_actionscheduler_actions LIMIT 1 ) IS NULL ==> P Insert WRITES wp_actionscheduler_actions >wp_actionscheduler_actions
UPDATE wp_actionscheduler_actions SET claim_id=11, last_attempt_gmt='x' WHERE claim_id = 0 ORDER BY priority ASC LIMIT 25 ==> P Update WRITES >wp_actionscheduler_actions
UPDATE wp_actionscheduler_actions t1 JOIN ( SELECT action_id FROM wp_actionscheduler_actions WHERE claim_id = 0 LIMIT 25 FOR UPDATE SKIP LOCKED ) t2 ON t1.action_id = t2.action_id SET claim_id=1 ==> P Update WRITES LOCKS_ROWS >wp_actionscheduler_actions
SELECT action_id FROM wp_actionscheduler_actions WHERE claim_id = 11 ORDER BY priority ASC, attempts ASC ==> R wp_actionscheduler_actions
SELECT COALESCE( SUM( stock_table.`stock_quantity` ), 0 ) FROM wp_wc_reserved_stock stock_table LEFT JOIN wp_posts posts ON stock_table.`order_id` = posts.ID WHERE stock_table.`expires` > NOW() ==> R wp_wc_reserved_stock wp_posts
SELECT UNIX_TIMESTAMP() FROM wp_posts LIMIT 1 ==> R wp_posts
INSERT INTO wp_woocommerce_sessions (`session_key`, `session_value`, `session_expiry`) VALUES ('t_1', 'x', 1) ON DUPLICATE KEY UPDATE `session_value` = VALUES(`session_value`) ==> P Insert WRITES >wp_woocommerce_sessions
SELECT session_value FROM wp_woocommerce_sessions WHERE session_key = 't_1' ==> R wp_woocommerce_sessions
REPLACE INTO `wp_wc_product_meta_lookup` (`product_id`, `sku`) VALUES (5, '') ==> P Replace WRITES >wp_wc_product_meta_lookup
INSERT INTO wp_wc_product_meta_lookup (product_id, sku) SELECT 5, 'sku' FROM wp_options WHERE NOT EXISTS ( SELECT * FROM wp_wc_product_meta_lookup WHERE sku = 'sku' LIMIT 1 ) LIMIT 1 ==> P Insert WRITES wp_options wp_wc_product_meta_lookup >wp_wc_product_meta_lookup
SELECT o.id FROM wp_wc_orders o LEFT JOIN wp_wc_order_addresses a ON o.id = a.order_id WHERE o.status = 'x' ==> R wp_wc_orders wp_wc_order_addresses
START TRANSACTION ==> P Begin IMPLICIT_COMMIT
BEGIN ==> P Begin IMPLICIT_COMMIT
START TRANSACTION READ ONLY ==> P Begin IMPLICIT_COMMIT READ_ONLY
START TRANSACTION /*!40100 WITH CONSISTENT SNAPSHOT */ ==> P Begin IMPLICIT_COMMIT
SET TRANSACTION ISOLATION LEVEL READ COMMITTED ==> P Set transaction_isolation:NextTransaction
SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY ==> P Set transaction_isolation:Session transaction_read_only:Session
SET autocommit=0 ==> P Set autocommit:Session
COMMIT ==> P Commit
ROLLBACK ==> P Rollback
SAVEPOINT a ==> P Savepoint
ROLLBACK TO a ==> P Savepoint
COMMIT AND CHAIN ==> P Commit CHAIN
ROLLBACK AND NO CHAIN RELEASE ==> P Rollback RELEASE
SELECT GET_LOCK('x', 0) ==> P USER_LOCK MAY_BLOCK
SELECT IS_FREE_LOCK('x') ==> U SERVER_FACT
SELECT RELEASE_LOCK('x') ==> P RELEASES_USER_LOCK
SELECT RELEASE_ALL_LOCKS() ==> P RELEASES_USER_LOCK
LOCK TABLES wp_options WRITE ==> P LockTables MAY_BLOCK IMPLICIT_COMMIT
UNLOCK TABLES ==> P UnlockTables IMPLICIT_COMMIT
CREATE TEMPORARY TABLE IF NOT EXISTS inactive_task_ids (task_id int) SELECT id FROM wp_tasks ==> P Ddl WRITES TEMPORARY_TABLE MAY_BLOCK >inactive_task_ids ?
SELECT isi.id FROM inactive_subscriber_ids isi LEFT JOIN wp_mailpoet_subscribers s ON s.id = isi.id ==> R inactive_subscriber_ids wp_mailpoet_subscribers
DROP TABLE wp_tmp_wc_ids ==> P Ddl WRITES MAY_BLOCK IMPLICIT_COMMIT >wp_tmp_wc_ids
SET time_zone = "+00:00" ==> P Set time_zone:Session
SET SESSION SQL_BIG_SELECTS=1 ==> P Set sql_big_selects:Session
SET SESSION group_concat_max_len = 1000000, SESSION wait_timeout=28800 ==> P Set group_concat_max_len:Session wait_timeout:Session
SET GLOBAL max_connections = 1 ==> P Set max_connections:Global
FLUSH PRIVILEGES ==> P Admin WRITES MAY_BLOCK IMPLICIT_COMMIT
KILL 5 ==> P Kill KILLS
GRANT ALL ON *.* TO 'a'@'%' ==> P Account WRITES IMPLICIT_COMMIT
SET @x := 1 ==> P Set USER_VARIABLE x:User
SELECT @x := @x + 1 ==> P USER_VARIABLE DANGER
SELECT 1 INTO @x ==> P USER_VARIABLE DANGER
SELECT LAST_INSERT_ID() ==> P DIAGNOSTICS
SELECT ROW_COUNT() ==> P DIAGNOSTICS
SHOW WARNINGS ==> P Show DIAGNOSTICS
SHOW ERRORS ==> P Show DIAGNOSTICS
SHOW COUNT(*) WARNINGS ==> P Show DIAGNOSTICS
SELECT @@warning_count ==> P DIAGNOSTICS SERVER_FACT
SELECT CONNECTION_ID() ==> U SERVER_FACT
SHOW PROCESSLIST ==> U Show SERVER_FACT
SELECT * FROM wp_posts INTO OUTFILE '/tmp/x' ==> P DANGER
LOAD DATA LOCAL INFILE 'x' INTO TABLE t ==> P Load WRITES LOAD_LOCAL
CALL p() ==> P Call WRITES CALLS_UNKNOWN
SELECT f(x) FROM wp_posts ==> U CALLS_UNKNOWN
SELECT * FROM a_view ==> R a_view
EXPLAIN SELECT * FROM wp_posts ==> R Explain wp_posts
EXPLAIN ANALYZE SELECT * FROM wp_posts ==> U Explain
EXPLAIN UPDATE wp_posts SET a = 1 ==> P Explain DANGER
CHECK TABLE wp_posts ==> P Admin WRITES MAY_BLOCK IMPLICIT_COMMIT
ANALYZE TABLE wp_posts ==> P Admin WRITES IMPLICIT_COMMIT
OPTIMIZE TABLE wp_posts ==> P Admin WRITES MAY_BLOCK IMPLICIT_COMMIT
REPAIR TABLE wp_posts ==> P Admin WRITES MAY_BLOCK IMPLICIT_COMMIT
CHECKSUM TABLE wp_posts ==> P Admin WRITES MAY_BLOCK IMPLICIT_COMMIT
SELECT SLEEP(5) ==> U MAY_BLOCK
SELECT BENCHMARK(1000, MD5('a')) ==> U MAY_BLOCK
SELECT NOW(), UTC_TIMESTAMP(), RAND(), UUID() ==> R
SELECT ID FROM wp_posts ORDER BY RAND() LIMIT 0, 5 ==> R wp_posts
SELECT 1; SELECT 2 ==> P x2
HANDLER t OPEN ==> P Handler HANDLER
XA START 'x' ==> P Xa WRITES
PREPARE s FROM 'SELECT 1' ==> P Prepare TEXT_PREPARE
EXECUTE s ==> P Execute WRITES TEXT_PREPARE CALLS_UNKNOWN
DEALLOCATE PREPARE s ==> P Deallocate TEXT_PREPARE
SELECT option_value FROM wp_options WHERE option_name = ? ==> R wp_options
SELECT NEXTVAL(seq) ==> P WRITES
SELECT NEXT VALUE FOR seq ==> P WRITES DANGER
INSERT INTO t (a) VALUES (1) RETURNING a ==> P Insert WRITES >t
DELETE FROM t WHERE a = 1 RETURNING a ==> P Delete WRITES >t
SELECT * FROM wp_posts WHERE post_title LIKE '%how to update; set -- x%' ==> R wp_posts
ALTER TABLE t ADD INDEX i (__non__existent__column__name__) ==> P Ddl WRITES MAY_BLOCK IMPLICIT_COMMIT >t
SELECT COUNT(*) FROM wp_posts WHERE post_status = 'trash' ==> R wp_posts
INSERT INTO wp_posts (a, b) VALUES (1, 'x'), (2, 'y'), (3, 'z') ==> P Insert WRITES >wp_posts
SHOW MASTER STATUS ==> U Show SERVER_FACT
SHOW BINARY LOGS ==> U Show SERVER_FACT
USE wordpress ==> P Use use:wordpress
USE `word-press` ==> P Use use:word-press
"##;
