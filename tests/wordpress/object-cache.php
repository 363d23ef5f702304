<?php
// WordPress's object cache in Redis, for tests: as the usual drop-ins do it, everything is kept for
// as long as nobody says otherwise. WORDPRESS_REDIS is its socket.

function wp_cache_init() {
    $GLOBALS['wp_object_cache'] = new Redis_Object_Cache();
}

class Redis_Object_Cache {
    private Redis $redis;
    private array $known = [];
    private array $unshared = [];

    public function __construct() {
        $this->redis = new Redis();
        $this->redis->connect((string) getenv('WORDPRESS_REDIS'));
        $this->redis->setOption(Redis::OPT_SERIALIZER, Redis::SERIALIZER_PHP);
    }

    private function name($key, $group): string {
        return ($group ?: 'default') . ':' . $key;
    }

    private function is_shared($group): bool {
        return !isset($this->unshared[$group ?: 'default']);
    }

    public function leave_out(array $groups) {
        foreach ($groups as $group) {
            $this->unshared[$group] = true;
        }
    }

    public function get($key, $group, $force, &$found) {
        $name = $this->name($key, $group);
        if (!$force && array_key_exists($name, $this->known) || !$this->is_shared($group)) {
            $found = array_key_exists($name, $this->known);
            return $found ? $this->copy($this->known[$name]) : false;
        }
        $held = $this->redis->get($name);
        $found = is_array($held);
        if (!$found) {
            return false;
        }
        $this->known[$name] = $held[0];
        return $this->copy($held[0]);
    }

    // With $mode "nx" only what is not there, with "xx" only what is.
    public function set($key, $data, $group, $seconds, $mode = '') {
        $name = $this->name($key, $group);
        if (!$this->is_shared($group)) {
            $is_there = array_key_exists($name, $this->known);
            if ($mode === 'nx' && $is_there || $mode === 'xx' && !$is_there) {
                return false;
            }
        } else {
            $options = array_filter([$mode, 'ex' => (int) $seconds]);
            if (!$this->redis->set($name, [$data], $options ?: null)) {
                return false;
            }
        }
        $this->known[$name] = $this->copy($data);
        return true;
    }

    public function add_to($key, $offset, $group) {
        $value = $this->get($key, $group, true, $found);
        if (!$found) {
            return false;
        }
        $value = max(0, (int) $value + $offset);
        $this->set($key, $value, $group, 0);
        return $value;
    }

    public function delete($key, $group) {
        $name = $this->name($key, $group);
        unset($this->known[$name]);
        return $this->is_shared($group) ? $this->redis->del($name) > 0 : true;
    }

    public function flush() {
        $this->known = [];
        return $this->redis->flushDB();
    }

    public function forget() {
        $this->known = [];
    }

    private function copy($data) {
        return is_object($data) ? clone $data : $data;
    }
}

function wp_cache_get($key, $group = '', $force = false, &$found = null) {
    return $GLOBALS['wp_object_cache']->get($key, $group, $force, $found);
}
function wp_cache_get_multiple($keys, $group = '', $force = false) {
    $values = [];
    foreach ($keys as $key) {
        $values[$key] = wp_cache_get($key, $group, $force);
    }
    return $values;
}
function wp_cache_set($key, $data, $group = '', $expire = 0) {
    return $GLOBALS['wp_object_cache']->set($key, $data, $group, $expire);
}
function wp_cache_add($key, $data, $group = '', $expire = 0) {
    return wp_suspend_cache_addition() ? false : $GLOBALS['wp_object_cache']->set($key, $data, $group, $expire, 'nx');
}
function wp_cache_replace($key, $data, $group = '', $expire = 0) {
    return $GLOBALS['wp_object_cache']->set($key, $data, $group, $expire, 'xx');
}
function wp_cache_set_multiple(array $data, $group = '', $expire = 0) {
    return array_map(fn ($key) => wp_cache_set($key, $data[$key], $group, $expire), array_combine(array_keys($data), array_keys($data)));
}
function wp_cache_add_multiple(array $data, $group = '', $expire = 0) {
    return array_map(fn ($key) => wp_cache_add($key, $data[$key], $group, $expire), array_combine(array_keys($data), array_keys($data)));
}
function wp_cache_incr($key, $offset = 1, $group = '') {
    return $GLOBALS['wp_object_cache']->add_to($key, $offset, $group);
}
function wp_cache_decr($key, $offset = 1, $group = '') {
    return $GLOBALS['wp_object_cache']->add_to($key, -$offset, $group);
}
function wp_cache_delete($key, $group = '') {
    return $GLOBALS['wp_object_cache']->delete($key, $group);
}
function wp_cache_delete_multiple(array $keys, $group = '') {
    return array_map(fn ($key) => wp_cache_delete($key, $group), array_combine($keys, $keys));
}
function wp_cache_flush() {
    return $GLOBALS['wp_object_cache']->flush();
}
function wp_cache_flush_runtime() {
    $GLOBALS['wp_object_cache']->forget();
    return true;
}
function wp_cache_supports($feature) {
    return in_array($feature, ['add_multiple', 'set_multiple', 'get_multiple', 'delete_multiple', 'flush_runtime'], true);
}
function wp_cache_close() {
    return true;
}
function wp_cache_add_global_groups($groups) {
}
function wp_cache_add_non_persistent_groups($groups) {
    $GLOBALS['wp_object_cache']->leave_out((array) $groups);
}
function wp_cache_switch_to_blog($blog_id) {
}
