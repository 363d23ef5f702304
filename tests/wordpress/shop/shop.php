<?php
/*
Plugin Name: Shop
Description: Cart and checkout with the statements that WooCommerce sends, for tests: no product has a page, nothing can be paid.
Version: 1
*/

// Everything is asked for at /?shop=WORD and answered in plain text, "name: value" a line.
register_activation_hook(__FILE__, 'shop_install');
add_action('init', 'shop_answer');
add_action('shop_event', fn ($mark) => update_option('shop_event_ran', $mark, false));

// The tables, and the page of thanks that an administrator sees next.
function shop_install() {
    global $wpdb;
    require_once ABSPATH . 'wp-admin/includes/upgrade.php';
    $charset = $wpdb->get_charset_collate();
    dbDelta("CREATE TABLE {$wpdb->prefix}woocommerce_sessions (
        session_id bigint(20) unsigned NOT NULL AUTO_INCREMENT,
        session_key char(32) NOT NULL,
        session_value longtext NOT NULL,
        session_expiry bigint(20) unsigned NOT NULL,
        PRIMARY KEY  (session_id),
        UNIQUE KEY session_key (session_key)
        ) $charset;
        CREATE TABLE {$wpdb->prefix}wc_orders (
        id bigint(20) unsigned NOT NULL,
        status varchar(20) NULL,
        type varchar(20) NULL,
        total_amount decimal(26,8) NULL,
        customer_key char(32) NULL,
        date_created_gmt datetime NULL,
        date_updated_gmt datetime NULL,
        PRIMARY KEY  (id),
        KEY status (status)
        ) $charset;
        CREATE TABLE {$wpdb->prefix}wc_orders_meta (
        id bigint(20) unsigned NOT NULL AUTO_INCREMENT,
        order_id bigint(20) unsigned NULL,
        meta_key varchar(255) NULL,
        meta_value text NULL,
        PRIMARY KEY  (id),
        KEY order_id (order_id)
        ) $charset;
        CREATE TABLE {$wpdb->prefix}woocommerce_order_items (
        order_item_id bigint(20) unsigned NOT NULL AUTO_INCREMENT,
        order_item_name text NOT NULL,
        order_item_type varchar(200) NOT NULL DEFAULT '',
        order_id bigint(20) unsigned NOT NULL,
        PRIMARY KEY  (order_item_id),
        KEY order_id (order_id)
        ) $charset;
        CREATE TABLE {$wpdb->prefix}wc_reserved_stock (
        order_id bigint(20) NOT NULL,
        product_id bigint(20) NOT NULL,
        stock_quantity double NOT NULL DEFAULT 0,
        timestamp datetime NOT NULL DEFAULT '2000-01-01 00:00:00',
        expires datetime NOT NULL DEFAULT '2000-01-01 00:00:00',
        PRIMARY KEY  (order_id, product_id)
        ) $charset;
        CREATE TABLE {$wpdb->prefix}wc_product_meta_lookup (
        product_id bigint(20) NOT NULL,
        sku varchar(100) NULL DEFAULT '',
        stock_quantity double NULL,
        total_sales bigint(20) NULL DEFAULT 0,
        PRIMARY KEY  (product_id)
        ) $charset;");
    add_option('shop_installed', '1');
}

function shop_answer() {
    $word = $_GET['shop'] ?? '';
    $known = ['product', 'add', 'cart', 'checkout', 'place', 'received', 'paid', 'orders', 'schedule', 'ran', 'late', 'found', 'flush', 'hosts'];
    if (!in_array($word, $known, true)) {
        return;
    }
    header('Content-Type: text/plain; charset=utf-8');
    header('Cache-Control: no-store');
    "shop_$word"();
    exit;
}

function shop_say(array $facts) {
    foreach ($facts as $name => $value) {
        echo "$name: $value\n";
    }
}

function shop_go(string $query) {
    wp_safe_redirect(home_url("/?$query"));
    exit;
}

// Who buys: a cookie made at the first visit, as for guests.
function shop_customer(): string {
    static $key;
    if (!$key) {
        $key = $_COOKIE['shop_customer'] ?? '';
        if (!preg_match('/^t_[0-9a-f]{30}$/', $key)) {
            $key = 't_' . bin2hex(random_bytes(15));
            setcookie('shop_customer', $key, 0, '/');
        }
    }
    return $key;
}

function shop_session(): array {
    global $wpdb;
    $value = $wpdb->get_var($wpdb->prepare(
        "SELECT session_value FROM {$wpdb->prefix}woocommerce_sessions WHERE session_key = %s", shop_customer()));
    return $value === null ? ['cart' => []] : json_decode($value, true);
}

// At the end of every page of the shop, GETs too.
function shop_keep(array $session) {
    global $wpdb;
    $wpdb->query($wpdb->prepare(
        "INSERT INTO {$wpdb->prefix}woocommerce_sessions (`session_key`, `session_value`, `session_expiry`) VALUES (%s, %s, %d)
        ON DUPLICATE KEY UPDATE `session_value` = VALUES(`session_value`), `session_expiry` = VALUES(`session_expiry`)",
        shop_customer(), wp_json_encode($session), time() + 2 * DAY_IN_SECONDS));
}

// A new product: ?shop=product&name=Lamp&stock=3
function shop_product() {
    global $wpdb;
    $product = wp_insert_post(['post_type' => 'product', 'post_status' => 'publish', 'post_title' => sanitize_text_field($_GET['name'])]);
    $stock = (int) $_GET['stock'];
    update_post_meta($product, '_stock', $stock);
    $wpdb->query($wpdb->prepare(
        "REPLACE INTO {$wpdb->prefix}wc_product_meta_lookup (`product_id`, `sku`, `stock_quantity`) VALUES (%d, %s, %d)",
        $product, "sku-$product", $stock));
    shop_say(['product' => $product]);
}

// What can still be bought, as a cart asks it: what others have reserved does not count.
function shop_available(int $product, int $order = 0): int {
    global $wpdb;
    $reserved = $wpdb->get_var($wpdb->prepare(
        "SELECT COALESCE( SUM( stock_table.`stock_quantity` ), 0 ) FROM {$wpdb->prefix}wc_reserved_stock stock_table
        LEFT JOIN {$wpdb->prefix}wc_orders orders ON stock_table.`order_id` = orders.id
        WHERE orders.status IN ( 'wc-checkout-draft', 'wc-pending' ) AND stock_table.`expires` > NOW()
        AND stock_table.`product_id` = %d AND stock_table.`order_id` != %d", $product, $order));
    $stock = $wpdb->get_var($wpdb->prepare(
        "SELECT meta_value FROM $wpdb->postmeta WHERE post_id = %d AND meta_key = '_stock'", $product));
    return (int) $stock - (int) $reserved;
}

function shop_add() {
    $session = shop_session();
    $product = (int) $_GET['product'];
    if (shop_available($product) < 1) {
        shop_keep($session);
        shop_say(['refused' => 'sold out']);
        return;
    }
    $session['cart'][$product] = ($session['cart'][$product] ?? 0) + 1;
    shop_keep($session);
    shop_go('shop=cart');
}

function shop_cart() {
    $session = shop_session();
    shop_keep($session);
    shop_say(['items' => array_sum($session['cart'])]);
    foreach ($session['cart'] as $product => $count) {
        shop_say(["product $product" => $count, "left $product" => shop_available($product)]);
    }
}

// Whoever looks at the checkout has a draft of an order, and a token that is good for one.
function shop_checkout() {
    global $wpdb;
    $session = shop_session();
    if (!$session['cart']) {
        shop_keep($session);
        shop_say(['refused' => 'the cart is empty']);
        return;
    }
    $order = (int) ($session['draft'] ?? 0);
    $status = $order ? $wpdb->get_var($wpdb->prepare("SELECT status FROM {$wpdb->prefix}wc_orders WHERE id = %d", $order)) : null;
    if ($status !== 'wc-checkout-draft') {
        $order = shop_draft($session['cart']);
    }
    $session['draft'] = $order;
    $session['token'] = bin2hex(random_bytes(8));
    shop_keep($session);
    shop_say(['order' => $order, 'token' => $session['token']]);
}

function shop_draft(array $cart): int {
    global $wpdb;
    $order = wp_insert_post(['post_type' => 'shop_order_placehold', 'post_status' => 'draft']);
    $wpdb->query($wpdb->prepare(
        "INSERT INTO {$wpdb->prefix}wc_orders (id, status, type, total_amount, customer_key, date_created_gmt, date_updated_gmt)
        VALUES (%d, 'wc-checkout-draft', 'shop_order', %f, %s, %s, %s)",
        $order, 10 * array_sum($cart), shop_customer(), current_time('mysql', true), current_time('mysql', true)));
    foreach ($cart as $product => $count) {
        $wpdb->insert("{$wpdb->prefix}woocommerce_order_items",
            ['order_item_name' => "$count of $product", 'order_item_type' => 'line_item', 'order_id' => $order]);
    }
    foreach (['_cart_hash' => md5(wp_json_encode($cart)), '_payment_method' => 'bacs', '_customer_ip' => '127.0.0.1'] as $name => $value) {
        shop_order_meta($order, $name, $value);
    }
    return $order;
}

function shop_order_meta(int $order, string $name, string $value) {
    global $wpdb;
    $wpdb->insert("{$wpdb->prefix}wc_orders_meta", ['order_id' => $order, 'meta_key' => $name, 'meta_value' => $value]);
}

// One statement decides who gets the last one: it locks what it has looked at.
function shop_reserve(int $order, int $product, int $count): bool {
    global $wpdb;
    return 0 < $wpdb->query($wpdb->prepare(
        "INSERT INTO {$wpdb->prefix}wc_reserved_stock ( `order_id`, `product_id`, `stock_quantity`, `timestamp`, `expires` )
        SELECT %d, %d, %d, NOW(), ( NOW() + INTERVAL 60 MINUTE ) FROM DUAL
        WHERE ( SELECT COALESCE( MAX( CAST( stocks.meta_value AS SIGNED ) ), 0 ) FROM $wpdb->postmeta AS stocks
            WHERE stocks.meta_key = '_stock' AND stocks.post_id = %d FOR UPDATE )
        - ( SELECT COALESCE( SUM( others.`stock_quantity` ), 0 ) FROM {$wpdb->prefix}wc_reserved_stock others
            WHERE others.`expires` > NOW() AND others.`product_id` = %d AND others.`order_id` != %d FOR UPDATE ) >= %d
        ON DUPLICATE KEY UPDATE `expires` = VALUES( `expires` ), `stock_quantity` = VALUES( `stock_quantity` )",
        $order, $product, $count, $product, $product, $order, $count));
}

// A token that was used leads to the order that it made, not to another one.
function shop_place() {
    global $wpdb;
    $session = shop_session();
    $token = (string) ($_POST['token'] ?? '');
    $order = (int) $wpdb->get_var($wpdb->prepare(
        "SELECT order_id FROM {$wpdb->prefix}wc_orders_meta WHERE meta_key = '_token' AND meta_value = %s", $token));
    if ($order) {
        shop_go("shop=received&order=$order");
    }
    if (!$session['cart']) {
        shop_say(['refused' => 'the cart is empty']);
        return;
    }
    $order = shop_draft($session['cart']);
    foreach ($session['cart'] as $product => $count) {
        if (!shop_reserve($order, (int) $product, $count)) {
            shop_say(['refused' => 'sold out']);
            return;
        }
    }
    $wpdb->query($wpdb->prepare(
        "UPDATE {$wpdb->prefix}wc_orders SET status = 'wc-pending', date_updated_gmt = %s WHERE id = %d",
        current_time('mysql', true), $order));
    shop_order_meta($order, '_token', $token);
    $wpdb->delete("{$wpdb->prefix}wc_orders", ['id' => (int) ($session['draft'] ?? 0), 'status' => 'wc-checkout-draft']);
    foreach ($session['cart'] as $product => $count) {
        $wpdb->query($wpdb->prepare(
            "UPDATE {$wpdb->prefix}wc_product_meta_lookup SET total_sales = total_sales + %d WHERE product_id = %d", $count, $product));
    }
    shop_keep(['cart' => []]);
    shop_go("shop=received&order=$order");
}

// The page behind a purchase, which needs no cookie: the same text for the buyer and the bank.
function shop_received() {
    global $wpdb;
    $order = $wpdb->get_row($wpdb->prepare(
        "SELECT o.id, o.status, m.meta_value AS method FROM {$wpdb->prefix}wc_orders o
        LEFT JOIN {$wpdb->prefix}wc_orders_meta m ON m.order_id = o.id AND m.meta_key = '_payment_method' WHERE o.id = %d",
        (int) $_GET['order']));
    shop_say($order ? ['order' => $order->id, 'status' => $order->status, 'method' => $order->method] : ['refused' => 'no such order']);
}

// What a bank calls when the money is there.
function shop_paid() {
    global $wpdb;
    $order = (int) $_GET['order'];
    $status = $wpdb->get_var($wpdb->prepare("SELECT status FROM {$wpdb->prefix}wc_orders WHERE id = %d", $order));
    if ($status !== 'wc-pending') {
        shop_say(['refused' => "the order is " . ($status ?? 'unknown')]);
        return;
    }
    $wpdb->query($wpdb->prepare("UPDATE {$wpdb->prefix}wc_orders SET status = 'wc-processing' WHERE id = %d", $order));
    shop_say(['order' => $order]);
}

function shop_orders() {
    global $wpdb;
    $count = $wpdb->get_var($wpdb->prepare(
        "SELECT COUNT(*) FROM {$wpdb->prefix}wc_orders WHERE customer_key = %s AND status <> 'wc-checkout-draft'", shop_customer()));
    shop_say(['orders' => $count]);
}

// Something for cron to do at once: ?shop=schedule&mark=7
function shop_schedule() {
    wp_schedule_single_event(time() - 1, 'shop_event', [sanitize_text_field($_GET['mark'])]);
    shop_say(['scheduled' => 'yes']);
}

function shop_ran() {
    shop_say(['ran' => get_option('shop_event_ran', 'never')]);
}

// A request that began before a post was published and looks for posts after it: it waits for the
// cache to say that posts have changed, and then fills the cache itself.
function shop_late() {
    global $wpdb;
    $wpdb->get_var("SELECT option_value FROM $wpdb->options WHERE option_name = 'blogname'");
    $before = wp_cache_get_last_changed('posts');
    file_put_contents(WP_CONTENT_DIR . '/uploads/waits', $_GET['mark']);
    for ($tries = 0; $tries < 5000 && $before === wp_cache_get('last_changed', 'posts', true); $tries++) {
        usleep(1000);
    }
    shop_say(['changed' => $tries < 5000 ? 'yes' : 'no', 'found' => shop_count_found()]);
}

function shop_found() {
    shop_say(['found' => shop_count_found()]);
}

// How many of the last posts bear the mark; WordPress keeps what it finds until posts change.
function shop_count_found(): int {
    $posts = get_posts(['numberposts' => 20, 'orderby' => 'ID', 'order' => 'DESC', 'suppress_filters' => false]);
    return count(array_filter($posts, fn ($post) => str_contains($post->post_title, $_GET['mark'])));
}

function shop_flush() {
    wp_cache_flush();
    shop_say(['flushed' => 'yes']);
}

// Which Forebay this request took.
function shop_hosts() {
    shop_say(['host' => DB_HOST]);
}
