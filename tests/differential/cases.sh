# Command lines of the differential test: each `### name` starts one; its body is run by bash as root
# in a fresh overlay over the Debian root file system, in an empty directory /tmp/w, once under the
# host's chroot and once in the sandbox. Output and exit code must be the same. Only what is the same
# on every Linux belongs here: no times, no process numbers, no kernel names.

### bash-arithmetic
echo $((7*6)) $((2**40)) $((0x1f)) $((-7/2)) $((7%3))
### bash-arrays
a=(one "two three" four); echo "${#a[@]}" "${a[1]}"; a+=(five); for i in "${!a[@]}"; do echo "$i=${a[$i]}"; done; unset 'a[0]'; echo "${a[@]}"
### bash-assoc
declare -A m=([x]=1 [y]=2); m[z]=3; for k in $(printf '%s\n' "${!m[@]}" | sort); do echo "$k ${m[$k]}"; done
### bash-here-document
cat <<EOF | tr a-z A-Z
hello $((1+1))
world
EOF
### bash-here-string
read -r a b <<<"first second third"; echo "$b/$a"
### bash-pipeline-status
false | true | false; echo "${PIPESTATUS[@]}"; set -o pipefail; false | true; echo $?
### bash-trap-exit
(trap 'echo bye' EXIT; echo hi; exit 3); echo $?
### bash-trap-signals
trap 'echo got USR1' USR1; kill -USR1 $$; trap 'echo got TERM' TERM; kill -TERM $BASHPID; echo alive
### bash-subshell-vars
x=1; (x=2; echo $x); echo $x; y=$(x=5; echo $x); echo "$y $x"
### bash-background-wait
(sleep 0.1; exit 7) & p=$!; wait $p; echo $?
### bash-job-control
set -m; sleep 300 & kill -STOP %1; for i in {1..300}; do [ "$(jobs -s)" ] && break; sleep 0.1; done; jobs -s | sed 's/ \+/ /g'; kill -CONT %1; kill %1; wait %1 2>/dev/null; echo $?
### bash-job-fg
set -m; (sleep 0.2; echo done) & fg %1 >/dev/null; echo $?
### bash-exec-redirect
exec 5>out; echo five >&5; exec 5>&-; cat out; exec 6<out; read -r l <&6; echo "[$l]"
### bash-process-substitution
diff <(printf 'a\nb\n') <(printf 'a\nc\n'); echo $?
### bash-named-pipe
mkfifo p; (echo through > p) & cat p; wait
### bash-coproc
coproc cat; echo ping >&"${COPROC[1]}"; read -r l <&"${COPROC[0]}"; echo "$l"; kill $COPROC_PID
### bash-glob
touch a1 a2 b1; echo a* ?1 [ab]2 *.none; shopt -s nullglob; echo *.none end
### bash-brace
echo {a,b}{1..3} {01..05}
### bash-parameter
v=/usr/lib/libx.so.1; echo ${v##*/} ${v%.*} ${v/lib/LIB} ${v^^} ${v:4:3} ${#v} ${none:-dflt}
### bash-printf
printf '%05d|%-6s|%x|%q\n' 42 ab 255 'a b'
### bash-regex
[[ abc123 =~ ^([a-z]+)([0-9]+)$ ]] && echo "${BASH_REMATCH[1]}-${BASH_REMATCH[2]}"
### bash-functions
f() { local x=$1; [ "$x" -le 1 ] && echo 1 || echo $((x * $(f $((x-1))))); }; f 6
### bash-select-case
for w in apple bee cat; do case $w in a*) echo A;; b*|c*) echo BC;; esac; done
### bash-not-found
nosuchcommand; echo $?
### bash-not-executable
echo 'echo hi' > s; ./s; echo $?; chmod +x s; ./s; echo $?
### bash-shebang-chain
printf '#!/usr/bin/env bash\necho "$0" "$@"\n' > s; chmod +x s; ./s a "b c"
### bash-bad-interpreter
printf '#!/no/such\n' > s; chmod +x s; ./s 2>/dev/null; echo $?
### bash-signal-exit-code
{ bash -c 'kill -KILL $$'; echo $?; bash -c 'kill -SEGV $$'; echo $?; } 2>/dev/null
### bash-ulimit
ulimit -n 64; ulimit -n; ulimit -Sc 0; ulimit -c
### bash-umask
umask 027; touch f; mkdir d; stat -c '%a %n' f d
### bash-cd-pwd
mkdir -p a/b; ln -s a/b l; cd l; pwd; pwd -P; cd ..; pwd
### bash-read-timeout
read -t 0.1 x < <(exec sleep 100 2>/dev/null); echo $(( $? > 128 )); kill $!
### bash-fd-census
bash -c 'ls /proc/self/fd | wc -l' 3>&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&-
### bash-wait-many
p=(); for i in 1 2 3 4 5 6 7 8; do (exit $i) & p+=($!); done; s=0; for j in ${p[@]}; do wait $j; s=$((s+$?)); done; echo $s
### bash-recursion-fork
f() { [ $1 = 0 ] && echo leaf || (f $(($1-1))); }; f 20
### bash-big-args
n=$(seq 1 20000 | tr '\n' ' '); /bin/echo $n | wc -c
### bash-arg-too-long
x=$(head -c 200000 /dev/zero | tr '\0' a); /bin/echo "$x" >/dev/null 2>&1; echo $?
### bash-env
env -i A=1 B='two words' bash -c 'env | grep -v -e ^PWD -e ^SHLVL -e ^_= | sort'
### bash-sigpipe
yes | head -n 2; echo "${PIPESTATUS[@]}"
### bash-nohup-session
setsid -w bash -c 'ps -o sid= -p $$ | tr -d " " | { read s; [ "$s" = "$$" ]; echo $((1-$?)); }'
### bash-dev-fd
echo x | cat /dev/stdin; echo y > /dev/stdout; echo z 3>&1 >/dev/fd/3
### bash-tcp-refused
(exec 3<>/dev/tcp/127.0.0.1/1) 2>/dev/null; echo $?

### coreutils-ls
touch -d @0 f; echo abc > g; touch -d @0 g; mkdir d; ln -s f l; touch -d @0 d; TZ=UTC ls -lA --time-style=+%s --ignore=l | tr -s ' ' | sed -E '/^total/d; s/^(d.* root root) +[0-9]+/\1 its-file-systems-business/'
### coreutils-ls-symlink
ln -s nowhere l; ls -l l | sed 's/.*l ->/l ->/'; test -e l; echo $?; readlink l
### coreutils-cp-tree
mkdir -p a/b/c; echo 1 > a/b/c/f; ln -s c a/b/l; chmod 640 a/b/c/f; cp -a a z; (cd z; find . -printf '%p %y %m %l\n' | sort)
### coreutils-cp-sparse
truncate -s 1M s; echo x >> s; cp --sparse=always s t; cmp s t && stat -c %s t
### coreutils-mv
echo a > x; mkdir d; mv x d/y; ls d; mv d e; cat e/y; mv -n e/y e/none 2>&1; ls e
### coreutils-rm
mkdir -p d/e; touch d/e/f; rm d 2>&1; rmdir d 2>&1; rm -r d; ls -A
### coreutils-ln
echo 1 > a; ln a b; stat -c %h a; echo 2 >> b; cat a; rm a; stat -c %h b
### coreutils-touch-stat
touch -d '2001-02-03 04:05:06.789 UTC' f; stat -c '%Y %y %s %F' f | sed 's/+0000/Z/'
### coreutils-chmod
touch f; chmod u=rwx,g=rx,o= f; stat -c %A f; chmod +t,u+s f; stat -c %A f; chmod 0 f; cat f; echo $?
### coreutils-chown
touch f; chown 1:2 f; stat -c '%u %g %a' f; chmod 6755 f; chown 3 f; stat -c '%u %g %a' f
### coreutils-user-permissions
mkdir d; chmod 700 d; echo s > d/f; setpriv --reuid 65534 --clear-groups cat d/f 2>&1; echo $?
### coreutils-sticky
mkdir t; chmod 1777 t; touch t/f; setpriv --reuid 65534 --clear-groups rm -f t/f 2>&1; ls t
### coreutils-dd
dd if=/dev/zero of=f bs=4k count=3 seek=1 2>/dev/null; stat -c %s f; dd if=f bs=1 skip=4095 count=2 2>/dev/null | od -An -tx1
### coreutils-dd-conv
printf abcd > f; printf XY | dd of=f bs=1 seek=1 conv=notrunc 2>/dev/null; cat f; echo
### coreutils-head-tail
seq 100 > f; head -n 3 f; tail -n 2 f; head -c 5 f; tail -c +288 f | head -n 1; tail -n +99 f
### coreutils-tail-follow
echo a > f; (sleep 0.3; echo b >> f) & timeout 20 tail -f f | head -n 2; wait
### coreutils-sort
printf '3 c\n1 a\n2 b\n10 d\n' | sort -k1,1n; printf 'b\na\nB\n' | LC_ALL=C sort; seq 50000 | sort -R --random-source=/dev/zero | sort -n | tail -n 1
### coreutils-sort-parallel
seq 200000 | sort --parallel=2 -S 1M -rn | head -n 2
### coreutils-uniq-cut-tr
printf 'a:1\na:1\nb:2\n' | uniq -c | tr -s ' '; printf 'x:y:z\n' | cut -d: -f1,3; echo hello | tr a-y b-z
### coreutils-join-comm-paste
printf '1 a\n2 b\n' > x; printf '1 c\n3 d\n' > y; join x y; comm <(cut -d' ' -f1 x) <(cut -d' ' -f1 y); paste -d, x y
### coreutils-wc
printf 'one two\nthree\n' | wc; printf 'ä' | wc -c
### coreutils-checksums
seq 1000 > f; md5sum f; sha256sum f; cksum f; b2sum f | cut -c1-16; sha256sum f > s; sha256sum -c s
### coreutils-base64
head -c 100 /dev/zero | base64 -w 40; echo aGk= | base64 -d; echo
### coreutils-od
printf '\001\002\377abc' | od -Ax -tx1z; printf 'abcdefgh' | od -An -tu2
### coreutils-split
seq 10 > f; split -l 4 f part; ls; cat part* | cmp - f && echo same
### coreutils-csplit-fmt-fold
printf 'a\nb\nSEP\nc\n' > f; csplit -s f /SEP/; cat xx01; echo 'a b c d e f g' | fold -w 5; echo 'x y z' | fmt -w 3
### coreutils-date
TZ=UTC date -d @1000000000 +%FT%T; TZ=Europe/Berlin date -d '2020-07-01 12:00 UTC' +%H; date -d 'nonsense' 2>&1; echo $?
### coreutils-seq-factor
seq -s, 1 0.5 3; factor 1234567890 97; numfmt --to=iec 1048576 1500
### coreutils-expr-test
expr 3 + 4 \* 2; expr abc : 'a\(.\)'; test 3 -gt 2 && echo yes; [ -d / -a -w /tmp ] && echo ok
### coreutils-mktemp
f=$(mktemp); d=$(mktemp -d); [ -f $f -a -d $d ] && stat -c %a $f $d
### coreutils-mknod
mknod p p; mknod n c 1 3; stat -c '%F %t,%T' p n; echo x > n; cat n | wc -c
### coreutils-install
echo x > f; install -D -m 750 -o 5 -g 6 f a/b/g; stat -c '%a %u %g' a/b/g
### coreutils-realpath
mkdir -p a/b; ln -s b a/l; realpath --relative-to=. a/l; realpath /proc/self/../self/cwd; readlink -f a/l/../b/./none; realpath none/none 2>&1; echo $?
### coreutils-df
df --output=target / | tail -n 1; df /nonexistent 2>&1; echo $?
### coreutils-du
mkdir d; head -c 10000 /dev/zero > d/f; du -b d/f; du --apparent-size -s d/f | cut -f1
### coreutils-timeout
{ timeout 0.2 sleep 50; echo $?; timeout -s KILL 0.2 sleep 50; echo $?; timeout 50 true; echo $?; } 2>/dev/null
### coreutils-nice-nohup
nice -n 5 nice; nohup echo hi </dev/null 2>/dev/null
### coreutils-tee
echo a | tee x y | cat; cat x y; echo b | tee -a x; cat x; echo z | tee /dev/full >/dev/null 2>err; echo $?; cat err
### coreutils-dev-full
echo x > /dev/full; echo $?; head -c 5 /dev/full | od -An -tx1
### coreutils-dev-random
head -c 32 /dev/urandom | wc -c; head -c 8 /dev/random | wc -c; head -c 16 /dev/urandom | cmp -s - <(head -c 16 /dev/urandom); echo $?
### coreutils-truncate
echo hello > f; truncate -s 2 f; cat f; echo; truncate -s 10 f; od -An -c f; truncate -s -5 f; stat -c %s f
### coreutils-link-errors
ln / d 2>&1; ln -s a a; cat a 2>&1; mkdir x; ln x y 2>&1; rmdir /tmp/w/x/. 2>&1; mv x x/y 2>&1; echo $?
### coreutils-name-limits
n=$(printf 'a%.0s' {1..255}); touch $n && ls | wc -c; touch ${n}b 2>&1 | sed 's/a\{50,\}/A/'; p=$(printf 'd/%.0s' {1..2100}); ls $p 2>&1 | sed 's/\(d\/\)\{50,\}/P/'
### coreutils-deep-tree
p=$(printf 'd/%.0s' {1..300}); mkdir -p $p; touch ${p}f; find . | wc -l; rm -r d; ls -A | wc -l
### coreutils-many-files
seq 1 3000 | xargs touch; ls | wc -l; ls -U | sort -n | tail -n 1; rm -f *; ls -A | wc -l
### coreutils-whoami
whoami; id; groups; id -u nobody; setpriv --reuid 65534 --regid 65534 --clear-groups id
### coreutils-uname
uname -s; uname -m; uname -o; nproc >/dev/null; echo $?
### coreutils-shred-sync
echo secret > f; shred -u f; ls -A; sync; echo $?
### coreutils-stdbuf-unbuffered
stdbuf -oL echo x; printf 'a\nb\n' | stdbuf -o0 tr a-z A-Z
### coreutils-pr-nl-tac-rev
seq 3 | nl -w2 -s. ; seq 3 | tac; echo abc | rev; seq 4 | pr -2 -t -l2 -w 10
### coreutils-cat-options
printf 'a\n\n\nb\t\001\n' | cat -A -s -n
### coreutils-mkdir-modes
mkdir -m 700 a; mkdir -p b/c; stat -c %a a b b/c; mkdir a 2>&1; mkdir -p a; echo $?; mkdir g; chmod g+s g; mkdir g/h; stat -c %a g/h

### find-all-names
find / -xdev -path /proc -prune -o -path /sys -prune -o -path /dev -prune -o -print 2>/dev/null | LC_ALL=C sort | sha256sum
### find-all-metadata
find /usr /etc /var -xdev \( -type f -o -type l -o -type d -empty \) -printf '%p %y %m %U %G %l\n' | LC_ALL=C sort | sha256sum
### find-all-contents
find /usr/bin /etc -xdev -type f -print0 | LC_ALL=C sort -z | xargs -0 cat | sha256sum
### find-expressions
mkdir -p a/b; touch -d @1000 a/x; touch a/b/y; find a -name '?' -newermt @2000 -type f; find . -empty -type f | sort; find a -maxdepth 1 -mindepth 1 | sort
### find-exec
touch a b c; find . -type f -exec sh -c 'echo $#' sh {} +; find . -name b -delete; ls
### find-size-perm-links
touch e; head -c 5000 /dev/zero > f; ln f g; chmod 4755 e; find . -type f -size +1 -links 2 | sort; find . -perm -4000
### grep
printf 'foo\nbar\nfoobar\n' > f; grep -c foo f; grep -n '^b' f; grep -rv foo . ; grep -q none f; echo $?; grep -rl 'GNU General' /usr/share/common-licenses | wc -l
### sed
printf 'a b\nc d\n' | sed -n 's/\(.\) \(.\)/\2 \1/p'; seq 5 | sed '2,4d'; echo x > f; sed -i 's/x/y/' f; cat f
### awk
printf '1 2\n3 4\n' | awk '{s+=$1*$2} END {print s, NR, sprintf("%.3f", s/3)}'; awk 'BEGIN { while (("echo a b" | getline l) > 0) print l; print ENVIRON["HOME"] }'
### xargs
seq 10 | xargs -n 3 echo; seq 4 | xargs -P 4 -I{} sh -c 'exit 0'; echo $?; printf 'a b\0c' | xargs -0 -n1 echo; false | xargs false; echo $?
### diff-patch
printf 'a\nb\nc\n' > x; printf 'a\nB\nc\n' > y; diff -u --label x --label y x y; diff x y | head -n 1; cmp x y; echo $?
### tar-gzip-roundtrip
cp -r /usr/share/common-licenses d; tar -cf - d | gzip | (mkdir o; cd o; tar -xzf -); diff -r d o/d && echo same
### tar-metadata
mkdir d; touch -d @5 d/f; ln d/f d/h; ln -s f d/l; mkfifo d/p; chmod 4711 d/f; chown 7:8 d/f; tar -cf t --sort=name d; mkdir o; tar -xpf t -C o; (cd o; find . -printf '%p %y %m %U %G %n %l\n' | sort)
### tar-list
tar -cf t /etc/passwd 2>/dev/null; tar -tf t
### xz-bzip
seq 100000 > f; xz -k f; xz -dc f.xz | cmp - f && stat -c %s f.xz; xz -T2 -c f | xz -dc | sha256sum
### zip
mkdir d; seq 100 > d/a; zip -qr z.zip d; rm -r d; unzip -qo z.zip; sha256sum d/a
### gzip-concat
(echo a | gzip; echo b | gzip) | zcat; echo bad | gunzip 2>&1; echo $?
### cpio-like-copy
(cd /usr/share/perl/5.36.0 && tar cf - .) | tar xf - ; find . -type f | wc -l; find . -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum
### bc
echo 'scale=30; 4*a(1)' | bc -l; echo '2^200' | bc
### file
file -b /bin/sh /etc/passwd /dev/null /bin/ls | cut -c1-20
### hexdump-column
printf 'abc\n' | hexdump -C; printf 'a b\nccc d\n' | column -t
### dpkg-list
dpkg -l | sha256sum; dpkg -s coreutils | head -n 2; dpkg -S /bin/ls
### dpkg-verify
dpkg -V coreutils bash libc6; echo $?; dpkg -L bash | sort | sha256sum
### dpkg-deb-build
mkdir -p p/DEBIAN p/opt/x; printf 'Package: x\nVersion: 1\nArchitecture: all\nMaintainer: a <a@b>\nDescription: d\n' > p/DEBIAN/control; echo hi > p/opt/x/f; dpkg-deb --root-owner-group -b p x.deb >/dev/null; dpkg -i x.deb >/dev/null 2>&1; cat /opt/x/f; dpkg -r x >/dev/null 2>&1; ls /opt
### apt-cache
apt-cache policy coreutils | head -n 2; apt-config dump | wc -l
### getent
getent passwd root daemon; getent hosts localhost | sed 's/ \+/ /'; getent group 0; getent services ssh/tcp; echo $?
### locale
locale | head -n 1; LC_ALL=C.UTF-8 bash -c 'x=äö; echo ${#x}'
### login-su
su -s /bin/sh nobody -c 'id -un; echo $HOME'; echo $?
### useradd
useradd -m joe 2>&1; id joe; ls -A /home/joe; su joe -c 'touch ~/f && stat -c "%U" ~/f'
### passwd-files
grep -c : /etc/passwd; pwck -qr; echo $?

### ps-self
ps -o comm= -p $$; ps -o stat= -p $$ | cut -c1
### pgrep-pkill
sleep 770 & for i in {1..300}; do pgrep -x sleep >/dev/null && break; sleep 0.1; done; pgrep -x sleep | wc -l; pkill -x sleep; wait; pgrep -x sleep; echo $?
### proc-self
tr '\0' ' ' < /proc/self/cmdline; echo; cat /proc/self/comm; readlink /proc/self/exe; readlink /proc/self/cwd; readlink /proc/self/root
### proc-status
grep -E '^(Name|State|Uid|Gid|Groups|Threads|NoNewPrivs|SigIgn|SigCgt):' /proc/self/status
### proc-fd
exec 7</etc/passwd; readlink /proc/self/fd/7; cat /proc/$$/fdinfo/7 | head -n 2; exec 7<&-
### proc-environ
A=b env -i X=1 cat /proc/self/environ | tr '\0' '\n'
### proc-maps
grep -c -e '/cat$' /proc/self/maps | sed 's/.*/ok/'; grep -o '\[stack\]\|\[heap\]' /proc/self/maps | sort; awk '{print (length($1) > 10), ($2 ~ /^[r-][w-][x-][ps]$/)}' /proc/self/maps | sort -u
### proc-stat-fields
awk '{print NF, ($1 > 0), $2}' /proc/self/stat; awk '{print NF}' /proc/self/statm; awk '{print NF}' /proc/loadavg /proc/uptime
### proc-limits
ulimit -n 100; grep 'open files' /proc/self/limits | tr -s ' '
### proc-filesystems
grep -c proc /proc/filesystems; grep -w tmpfs /proc/filesystems
### proc-oom-comm
echo 500 > /proc/self/oom_score_adj; cat /proc/self/oom_score_adj; bash -c 'echo renamed > /proc/self/comm; cat /proc/$$/comm'
### proc-missing
cat /proc/nope 2>&1; ls /proc/999999 2>&1; echo x > /proc/self/status; echo $?; mkdir /proc/x 2>&1; rm /proc/self/stat 2>&1
### proc-sys
cat /proc/sys/kernel/ostype /proc/sys/kernel/cap_last_cap /proc/sys/fs/nr_open >/dev/null; echo $?; cat /proc/sys/kernel/random/uuid | wc -c; sysctl -n kernel.ostype
### proc-task-threads
python3 -c "
import threading,os,time
e=threading.Event()
ts=[threading.Thread(target=e.wait) for _ in range(3)]
[t.start() for t in ts]
print(len(os.listdir('/proc/self/task')), [l for l in open('/proc/self/status') if l.startswith('Threads')])
e.set()"
### free-uptime
free | head -n 1; uptime | grep -c load; vmstat | wc -l; w -h | wc -l

### python-hello
python3 -c 'import sys, platform; print(sys.version.split()[0], platform.system(), sys.byteorder, sys.maxsize)'
### python-subprocess
python3 -c "
import subprocess as s
print(s.run(['sh','-c','cat; echo err >&2; exit 3'],input=b'in',capture_output=True))
print(s.check_output('echo a|tr a b',shell=True))
try: s.run(['sleep','99'],timeout=.2)
except s.TimeoutExpired: print('timeout')
try: s.run(['/no/such'])
except FileNotFoundError as e: print(e)
p=s.Popen(['cat'],stdin=s.PIPE,stdout=s.PIPE); print(p.communicate(b'x'*200000)[0].count(b'x'), p.returncode)"
### python-threading
python3 -c "
import threading, queue
q=queue.Queue(); r=[]
def w():
    while (x:=q.get()) is not None: r.append(x*x)
ts=[threading.Thread(target=w) for _ in range(8)]
[t.start() for t in ts]; [q.put(i) for i in range(1000)]; [q.put(None) for _ in ts]; [t.join() for t in ts]
print(sum(r), len(r))"
### python-multiprocessing
python3 -c "
import multiprocessing as m
def f(x): return x*x
if __name__=='__main__':
    with m.Pool(4) as p: print(sum(p.map(f, range(1000))))
    q=m.Queue(); p=m.Process(target=q.put,args=({'a':1},)); p.start(); print(q.get()); p.join(); print(p.exitcode)
    v=m.Value('i',0)
    def inc():
        for _ in range(500):
            with v.get_lock(): v.value+=1
    ps=[m.Process(target=inc) for _ in range(4)]; [p.start() for p in ps]; [p.join() for p in ps]; print(v.value)"
### python-mp-spawn
cat > s.py <<'EOF'
import multiprocessing as m
def f(q): q.put('child')
if __name__ == '__main__':
    for how in ('spawn', 'forkserver'):
        c = m.get_context(how); q = c.Queue(); p = c.Process(target=f, args=(q,)); p.start(); print(how, q.get()); p.join()
EOF
python3 s.py
### python-shared-memory
python3 -c "
from multiprocessing import shared_memory as s, Process
m=s.SharedMemory(create=True,size=100); 
def f(n): x=s.SharedMemory(n); x.buf[0]=42; x.close()
p=Process(target=f,args=(m.name,)); p.start(); p.join(); print(m.buf[0]); m.close(); m.unlink()" 2>/dev/null
### python-sqlite
python3 -c "
import sqlite3
c=sqlite3.connect('t.db'); c.execute('pragma journal_mode=wal'); c.execute('create table t(a integer primary key,b)')
with c: c.executemany('insert into t(b) values(?)',((str(i),) for i in range(5000)))
d=sqlite3.connect('t.db'); print(d.execute('select count(*),sum(a),max(b) from t').fetchall(), d.execute('pragma integrity_check').fetchall())
c.execute('begin immediate')
try: sqlite3.connect('t.db',timeout=.1).execute('begin immediate')
except sqlite3.OperationalError as e: print(e)"
### python-asyncio
python3 -c "
import asyncio
async def w(i): await asyncio.sleep(.01*(3-i)); return i
async def main():
    print(await asyncio.gather(*(w(i) for i in range(3))))
    p=await asyncio.create_subprocess_exec('sh','-c','echo out; exit 4',stdout=asyncio.subprocess.PIPE); print(await p.communicate(), p.returncode)
asyncio.run(main())"
### python-signals
python3 -c "
import signal,os,time
signal.signal(signal.SIGALRM,lambda *a: print('alarm')); signal.setitimer(signal.ITIMER_REAL,.05); time.sleep(.2)
signal.signal(signal.SIGUSR1,lambda s,f: print('usr1',s)); os.kill(os.getpid(),signal.SIGUSR1)
print(signal.sigtimedwait([signal.SIGUSR2],.01)); signal.pthread_sigmask(signal.SIG_BLOCK,[signal.SIGUSR2]); os.kill(os.getpid(),signal.SIGUSR2); print(signal.sigwaitinfo([signal.SIGUSR2]).si_signo, signal.sigpending())"
### python-fork-wait
python3 -c "
import os
for i in range(3):
    if not (p:=os.fork()): os._exit(i)
    print(os.waitstatus_to_exitcode(os.waitpid(p,0)[1]))
try: os.waitpid(-1,0)
except ChildProcessError as e: print(e)
print(os.waitid(os.P_PID, os.posix_spawn('/bin/true',['true'],{}), os.WEXITED).si_status)"
### python-files
python3 -c "
import os,tempfile,shutil,fcntl,mmap
d=tempfile.mkdtemp(); f=os.path.join(d,'f'); open(f,'wb').write(b'abc'*1000)
with open(f,'r+b') as h:
    m=mmap.mmap(h.fileno(),0); m[0:3]=b'XYZ'; m.flush(); print(m.find(b'cab')); m.close(); h.seek(0); print(h.read(6))
    fcntl.lockf(h,fcntl.LOCK_EX); fcntl.flock(h,fcntl.LOCK_EX|fcntl.LOCK_NB); os.truncate(f,4); print(os.stat(f).st_size, os.path.getsize(f))
os.setxattr(f,'user.k',b'v'); print(os.listxattr(f), os.getxattr(f,'user.k')); print(sorted(e.name for e in os.scandir(d))); shutil.rmtree(d); print(os.path.exists(d))"
### python-sockets-unix
python3 -c "
import socket,os,array,threading
a,b=socket.socketpair(); a.send(b'hi'); print(b.recv(9)); 
r,w=os.pipe(); socket.send_fds(a,[b'fd'],[r]); m,fds,fl,ad=socket.recv_fds(b,9,4); os.write(w,b'via'); print(m,os.read(fds[0],9))
s=socket.socket(socket.AF_UNIX); s.bind('s'); s.listen(); c=socket.socket(socket.AF_UNIX); c.connect('s'); d,_=s.accept(); c.sendall(b'x'*300000 if 0 else b'x'*3000); c.shutdown(1); n=0
while (x:=d.recv(4096)): n+=len(x)
print(n, c.getpeername()); t=socket.socket(socket.AF_UNIX); t.bind('\0abs'); print(t.getsockname())
try: socket.socket(socket.AF_UNIX).connect('none')
except OSError as e: print(e)"
### python-select
python3 -c "
import select,os,selectors
r,w=os.pipe(); print(select.select([r],[w],[],0)[1]==[w]); os.write(w,b'x'); e=select.epoll(); e.register(r,select.EPOLLIN|select.EPOLLET); print(len(e.poll(1)), len(e.poll(0))); p=select.poll(); p.register(r); os.close(w); os.read(r,1); print([v for _,v in p.poll(0)])"
### python-pty
python3 -c "
import pty,os
m,s=pty.openpty(); print(os.isatty(s)); os.write(m,b'hello\n'); print(os.read(s,99)); print(os.read(m,99)); os.write(s,b'a\n'); print(os.read(m,9))
pid,fd=pty.fork()
if pid==0: os.execvp('sh',['sh','-c','tty >/dev/null && echo tty; stty size'])
o=b''
try:
    while (x:=os.read(fd,999)): o+=x
except OSError: pass
print(o, os.waitstatus_to_exitcode(os.waitpid(pid,0)[1]))"
### python-time
python3 -c "
import time,resource
a=time.monotonic(); time.sleep(.05); print(.05<=time.monotonic()-a<60); print(time.time()>1.6e9, time.clock_getres(time.CLOCK_MONOTONIC)); t=time.process_time(); sum(range(10**6)); print(time.process_time()>t); print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss>1000)"
### python-compileall
cp -r /usr/lib/python3.11/json .; python3 -m compileall -q json && ls json/__pycache__ | wc -l; python3 -m json.tool <<<'{"a":[1,2]}'
### python-zip-hash
python3 -c "
import zlib,hashlib,lzma,bz2; d=bytes(range(256))*4000
print(hashlib.sha256(zlib.compress(d)).hexdigest()[:16], len(lzma.compress(d)), hashlib.sha1(bz2.compress(d)).hexdigest()[:8])"
### python-resource-limits
python3 -c "
import resource,os
resource.setrlimit(resource.RLIMIT_NOFILE,(16,16))
try: [os.open('/dev/null',0) for _ in range(99)]
except OSError as e: print(e)
resource.setrlimit(resource.RLIMIT_AS,(1<<30,1<<30))
try: bytearray(2<<30)
except MemoryError: print('memory')"
### python-fsize-limit
python3 -c "
import resource,signal
signal.signal(signal.SIGXFSZ,lambda *a: print('xfsz')); resource.setrlimit(resource.RLIMIT_FSIZE,(1000,1000))
try: f=open('f','wb',0); print(f.write(b'x'*2000)); f.write(b'y')
except OSError as e: print(e)"
### python-recursion-stack
python3 -c "
import sys,threading; sys.setrecursionlimit(20000); threading.stack_size(64<<20)
def f(n): return n and 1+f(n-1)
r=[]; t=threading.Thread(target=lambda: r.append(f(15000))); t.start(); t.join(); print(r)"

### gcc-hello
printf '#include <stdio.h>\nint main(){puts("hi");return 5;}\n' > a.c; gcc -O2 -o a a.c && ./a; echo $?
### gcc-static
printf '#include <stdio.h>\nint main(){puts("static");}\n' > a.c; gcc -static -o a a.c && ./a; file -b a | cut -c1-20
### gcc-error
echo 'int main({' > a.c; gcc a.c; echo $?
### gcc-threads
cat > t.c <<'EOF'
#include <pthread.h>
#include <stdio.h>
static pthread_mutex_t m=PTHREAD_MUTEX_INITIALIZER; static long n; static __thread int tls;
static void*f(void*a){for(int i=0;i<20000;i++){pthread_mutex_lock(&m);n++;tls++;pthread_mutex_unlock(&m);}return (void*)(long)tls;}
int main(){pthread_t t[16];void*r;long s=0;for(int i=0;i<16;i++)pthread_create(&t[i],0,f,0);for(int i=0;i<16;i++){pthread_join(t[i],&r);s+=(long)r;}printf("%ld %ld\n",n,s);}
EOF
gcc -O1 -pthread t.c -o t && ./t
### gcc-signals
cat > s.c <<'EOF'
#include <signal.h>
#include <setjmp.h>
#include <stdio.h>
#include <unistd.h>
#include <sys/mman.h>
#include <string.h>
static sigjmp_buf j; static char st[65536];
static void h(int s, siginfo_t*i, void*c){ printf("%d %d %d\n", s, i->si_code, i->si_addr==(void*)16); siglongjmp(j,1);}
int main(){ setvbuf(stdout,0,_IONBF,0); stack_t ss={.ss_sp=st,.ss_size=sizeof st}; sigaltstack(&ss,0); struct sigaction a={.sa_sigaction=h,.sa_flags=SA_SIGINFO|SA_ONSTACK}; sigaction(SIGSEGV,&a,0); sigaction(SIGFPE,&a,0); sigaction(SIGILL,&a,0); sigaction(SIGBUS,&a,0);
 if(!sigsetjmp(j,1)) *(volatile int*)16=1;
 char*p=mmap(0,4096,PROT_READ,MAP_PRIVATE|MAP_ANONYMOUS,-1,0); if(!sigsetjmp(j,1)) *(volatile char*)p=1;
 volatile int z=0; if(!sigsetjmp(j,1)) z=1/z; if(!sigsetjmp(j,1)) __builtin_trap(); puts("end"); }
EOF
gcc -w s.c -o s && ./s
### gcc-shared-library
echo 'int f(void){return 42;}' > l.c; printf '#include <stdio.h>\n#include <dlfcn.h>\nint f(void);int main(){printf("%%d\\n",f());void*h=dlopen("libm.so.6",2);double(*c)(double)=dlsym(h,"cos");printf("%%g\\n",c(0));}' > m.c; gcc -shared -fPIC l.c -o libl.so && gcc m.c -L. -ll -o m && LD_LIBRARY_PATH=. ./m; ./m 2>&1; echo $?
### gcc-lto-pipe
printf 'int sq(int x){return x*x;}\n' > a.c; printf '#include <stdio.h>\nint sq(int);int main(){printf("%%d\\n",sq(9));}\n' > b.c; gcc -O2 -flto -pipe a.c b.c -o x && ./x
### make-parallel
printf 'all: a b c d\n%%:\n\t@sleep 0.05; echo x > $@\nt: a b\n\tcat $^\n' > Makefile; make -s -j4; ls; make -s t; make none 2>&1; echo $?
### make-lua
cp -r /src/lua/src lua; cd lua; rm -f luac.c; echo '#define DEB_HOST_MULTIARCH "x86_64-linux-gnu"' > lua5.4-deb-multiarch.h; printf 'lua: $(patsubst %%.c,%%.o,$(wildcard *.c))\n\tgcc -o $@ $^ -lm -ldl -Wl,-E\n' > M; make -s -f M -j2 lua CFLAGS='-O1 -DLUA_USE_POSIX -DLUA_USE_DLOPEN' 2>&1 | tail -n 3; ls *.o | wc -l; ./lua -e 'print(_VERSION, 2^53, ("x"):rep(3)); for i, w in ipairs{"a", "b"} do io.write(i, w, "\n") end; print(io.popen("echo sub"):read("a"), os.getenv("HOME"), os.execute("exit 3")); local f = io.open("t", "w"); f:write("x"); f:close(); print(io.open("t"):read("a"), os.remove("t"), os.remove("t"))'
### make-zlib-check
cp -r /src/zlib z; cd z; (CFLAGS=-O1 ./configure --static >/dev/null 2>&1 && make -j2 >/dev/null 2>&1; make test 2>&1 | grep -a 'test OK'); ls libz.a
### ar-nm-objdump
echo 'int g(void){return 1;}' > a.c; gcc -c a.c; ar rcs liba.a a.o; nm liba.a | tail -n 1; objdump -d a.o | grep -c ret; strip -s a.o; size a.o | tail -n 1
### strace-inside
strace -f -e trace=openat true 2>&1 | grep -c openat | sed 's/[1-9][0-9]*/some/'; echo $?

### git-init-commit
export GIT_AUTHOR_DATE='2020-01-01T00:00:00Z' GIT_COMMITTER_DATE='2020-01-01T00:00:00Z'; git init -q r; cd r; git config user.email a@b; git config user.name n; seq 100 > f; mkdir d; echo x > d/g; ln -s f l; git add .; git commit -qm first; git log --format='%H %s'; git status --short; git ls-tree -r HEAD
### git-branch-merge
export GIT_AUTHOR_DATE='2020-01-01T00:00:00Z' GIT_COMMITTER_DATE='2020-01-01T00:00:00Z'; git init -q -b main r; cd r; git config user.email a@b; git config user.name n; seq 9 > f; git add f; git commit -qm a; git checkout -qb x; sed -i 1d f; git commit -qam b; git checkout -q main; sed -i '$d' f; git commit -qam c; git merge -q x -m m; git log --oneline --graph | cat; cat f | wc -l; git diff HEAD~1 --stat | cat
### git-clone-gc
export GIT_AUTHOR_DATE='2020-01-01T00:00:00Z' GIT_COMMITTER_DATE='2020-01-01T00:00:00Z'; git init -q r; cd r; git config user.email a@b; git config user.name n; for i in 1 2 3 4 5; do seq $i 500 > f$i; git add .; git commit -qm $i; done; git gc -q; git fsck 2>&1; git count-objects -v | grep -e in-pack -e packs; cd ..; git clone -q r s; git -C s log --format=%H | sha256sum; git clone -q --bare "file://$PWD/r" t; git -C t rev-parse HEAD
### git-stash-rebase
export GIT_AUTHOR_DATE='2020-01-01T00:00:00Z' GIT_COMMITTER_DATE='2020-01-01T00:00:00Z'; git init -q -b main r; cd r; git config user.email a@b; git config user.name n; echo 1 > f; git add f; git commit -qm a; echo 2 > g; git add g; git stash -q; git status --short; git stash pop -q; git status --short; git commit -qm b; git checkout -q -b y HEAD~1; echo 3 > h; git add h; git commit -qm c; git rebase -q main; git log --format=%s
### git-hooks-grep
git init -q r; cd r; git config user.email a@b; git config user.name n; printf '#!/bin/sh\necho hook ran\n' > .git/hooks/pre-commit; chmod +x .git/hooks/pre-commit; echo needle > f; git add f; git commit -qm x; git grep -n needle; git archive HEAD | tar -tf -
### perl-basics
perl -e 'my %h=(a=>1,b=>2); print join(",", map {"$_=$h{$_}"} sort keys %h), "\n"; print "ok\n" if "foobar" =~ /o+b/; printf "%.2f\n", 2/3'
### perl-fork-pipe
perl -e 'pipe(R,W); if(!fork){close R; print W "child\n"; exit 2} close W; print <R>; wait; print $?>>8, "\n"; print `echo sub`; open(F,"|tr a-z A-Z"); print F "pipe\n"; close F'
### perl-signals-select
perl -e '$SIG{ALRM}=sub{die "alarm\n"}; eval{alarm 1; select(undef,undef,undef,5)}; print $@; $SIG{CHLD}=sub{print "chld\n"; wait}; if(!fork){exit} sleep 2; use POSIX; print POSIX::ttyname(0)//"none","\n"'
### perl-files
perl -e 'use File::Find; use File::Path; mkpath("a/b/c"); open F,">a/b/f"; print F "x"x10; close F; find(sub{print "$File::Find::name\n"},"a"); print -s "a/b/f","\n"; opendir D,"a/b"; print join(" ",sort readdir D),"\n"; utime 1,2,"a/b/f"; print((stat "a/b/f")[9],"\n"); flock(DATA,2)||print "noflock\n"; rmtree("a"); print -e "a"?1:0,"\n"'
### sqlite-shell
sqlite3 t.db 'create table t(a,b); insert into t select value, value*value from generate_series(1,1000); select sum(b) from t; create index i on t(a); analyze; vacuum; pragma integrity_check;'; sqlite3 t.db .dump | sha256sum

### rust-threads
/opt/threads
### rust-threads-many-times
for i in 1 2 3 4 5 6 7 8; do /opt/threads | sha256sum; done | sort -u | wc -l
### go-hello
cat > h.go <<'EOF'
package main
import ("fmt"; "sync"; "os"; "os/exec"; "os/signal"; "syscall"; "time")
func main() {
  var wg sync.WaitGroup; var mu sync.Mutex; n := 0; c := make(chan int, 8)
  for i := 0; i < 200; i++ { wg.Add(1); go func(i int) { defer wg.Done(); mu.Lock(); n += i; mu.Unlock(); c <- i }(i) }
  go func() { wg.Wait(); close(c) }(); s := 0; for x := range c { s += x }
  o, err := exec.Command("echo", "sub").Output(); fmt.Println(n, s, string(o), err)
  g := make(chan os.Signal, 1); signal.Notify(g, syscall.SIGUSR1); syscall.Kill(os.Getpid(), syscall.SIGUSR1); fmt.Println(<-g)
  select { case <-time.After(20*time.Millisecond): fmt.Println("timer") }
  var p *int; defer func() { fmt.Println(recover() != nil) }(); fmt.Println(*p)
}
EOF
GOCACHE=/tmp/gc GO111MODULE=off go build -o h h.go && ./h
### go-test
mkdir -p m && cd m && printf 'module m\n' > go.mod && printf 'package m\nfunc Add(a,b int) int {return a+b}\n' > m.go && printf 'package m\nimport "testing"\nfunc TestAdd(t *testing.T){ if Add(1,2)!=3 {t.Fatal()} }\n' > m_test.go && GOCACHE=/tmp/gc GOFLAGS=-mod=mod go test ./... | sed 's/[0-9.]*s$//'
### less-vim-batch
printf 'a\nb\n' > f; less f | cat; vim.tiny -es -u NONE +'%s/a/Z/' +wq f; cat f
### vi-pty
printf 'one\ntwo\n' > f; python3 -c "
import pty,os,time
pid,fd=pty.fork()
if pid==0: os.environ['TERM']='vt100'; os.execvp('vim.tiny',['vim.tiny','-u','NONE','f'])
o=b''
while b'one' not in o: o+=os.read(fd,9999)
os.write(fd,b'ihello \x1b'); time.sleep(.5); os.write(fd,b':wq\r')
try:
    while os.read(fd,9999): pass
except OSError: pass
print(os.waitstatus_to_exitcode(os.waitpid(pid,0)[1]))"; cat f
### less-pty
seq 1000 > f; python3 -c "
import pty,os
pid,fd=pty.fork()
if pid==0: os.environ['TERM']='vt100'; os.execvp('less',['less','f'])
o=b''
def till(t):
    global o
    while t not in o: o+=os.read(fd,9999)
till(b'20'); os.write(fd,b'G'); till(b'1000'); os.write(fd,b'q')
try:
    while (x:=os.read(fd,9999)): o+=x
except OSError: pass
print(b'1000' in o, os.waitstatus_to_exitcode(os.waitpid(pid,0)[1]))"
### bash-pty-job-control
python3 - <<'X'
import pty,os
pid,fd=pty.fork()
if pid==0: os.execvp('bash',['bash','--norc','--noprofile','-i'])
o=b''
def say(b,t):
    global o
    os.write(fd,b)
    while t not in o: o+=os.read(fd,9999)
# Each key is for whoever has said that it is in front.
say(b'PS1=""; stty -echo; echo a$((1+1))\n',b'a2')
# It forks nothing (a stop between a vfork and its exec would stop the child alone) and sees a signal soon
# whenever it comes.
say(b"""perl -e '$|=1; $SIG{CONT}=sub{print "c", 2, "\\n"}; print "b", 2, "\\n"; select(undef,undef,undef,.1) while 1'\n""",b'b2')
say(b'\x1a',b'Stopped'); say(b'jobs; echo d$((1+1))\n',b'd2'); say(b'fg\n',b'c2'); os.write(fd,b'\x03'); say(b'echo st=$?\n',b'st='+b'1'); say(b'exit 6\n',b'')
try:
    while (x:=os.read(fd,9999)): o+=x
except OSError: pass
print(b'Stopped' in o, b'st=130' in o, os.waitstatus_to_exitcode(os.waitpid(pid,0)[1]))
X
### script-pty-size
python3 -c "
import pty,os,fcntl,termios,struct,signal,time
pid,fd=pty.fork()
if pid==0: os.execvp('bash',['bash','-c','trap \"stty size\" WINCH; echo r; sleep 3 & wait; wait'])
os.read(fd,99); fcntl.ioctl(fd,termios.TIOCSWINSZ,struct.pack('HHHH',33,77,0,0)); o=b''
try:
    while (x:=os.read(fd,9999)): o+=x
except OSError: pass
print(o)"
### flock
(flock -n 9 && echo got; (flock -n 9 || echo inherited) 9>&9; sh -c 'exec 8>l; flock -n 8 || echo busy') 9>l; flock -n l echo free
### inotify-free-poll
python3 -c "
import ctypes,os,struct
c=ctypes.CDLL(None); f=c.inotify_init1(0o4000); print(f>=0, c.inotify_add_watch(f,b'.',0x100|0x200)>0); open('x','w').close(); os.unlink('x'); b=os.read(f,999); print([struct.unpack_from('iIII',b,i)[1] for i in (0,32)])"
### setuid-binary
cp /usr/bin/id i; chown 1234 i; chmod 4755 i; setpriv --reuid 65534 --regid 65534 --clear-groups ./i -u; setpriv --reuid 65534 --regid 65534 --clear-groups --no-new-privs ./i -u
### capabilities
setpriv --dump | grep -i -e bounding | grep -c cap | sed 's/.*/ok/'; setpriv --reuid 65534 --clear-groups --inh-caps=-all grep CapEff /proc/self/status
### unshare-chroot
mkdir -p j/bin; cp /bin/busybox j/bin 2>/dev/null; mkdir -p c; cp -a /usr/sbin/ldconfig c/; chroot c /ldconfig -V | head -n 1; chroot c /none 2>&1; echo $?
### mount-tmpfs-bind
mkdir m b; mount -t tmpfs -o size=1m t m; echo x > m/f; mount --bind m b; cat b/f; head -c 2000000 /dev/zero > m/big; echo $?; grep -c " $PWD/" /proc/mounts; umount b; umount m; ls m
### mount-readonly
mkdir m b; touch m/f; mount --bind m b; mount -o remount,bind,ro b; echo x > b/f; touch b/g 2>&1; umount b
### sparse-holes
truncate -s 100M f; python3 -c "
import os
f=os.open('f',os.O_RDWR); os.pwrite(f,b'x',50<<20); print(os.lseek(f,0,os.SEEK_DATA)==50<<20, os.lseek(f,0,os.SEEK_HOLE))"; stat -c %s f; du -k f | awk '{print $1<1000}'
### large-file
python3 -c "
f=open('f','wb'); f.seek(5<<30); f.write(b'end'); f.close(); f=open('f','rb'); f.seek(-3,2); print(f.read(), f.tell()==(5<<30)+3)"
### fork-storm
for i in $(seq 300); do /bin/true & done; wait; echo done
### pipe-100mb
head -c 100000000 /dev/zero | cat | sha256sum
### exec-loop
i=0; while [ $i -lt 200 ]; do /bin/true; i=$((i+1)); done; echo $i

### python-sqlite-concurrent
python3 - <<'X'
import sqlite3,multiprocessing as m
def work(n):
    c=sqlite3.connect('s.db',timeout=60,isolation_level=None)
    for i in range(60):
        c.execute('begin immediate'); c.execute('update t set v=v+1 where k=?',(i%10,)); c.execute('commit')
for mode in ('delete','wal','truncate','persist'):
    c=sqlite3.connect('s.db'); c.execute('pragma journal_mode='+mode); c.execute('drop table if exists t'); c.execute('create table t(k integer primary key, v int)'); c.executemany('insert into t values(?,0)',((i,) for i in range(10))); c.commit(); c.close()
    ps=[m.Process(target=work,args=(i,)) for i in range(4)]; [p.start() for p in ps]; [p.join() for p in ps]
    c=sqlite3.connect('s.db'); print(mode,c.execute('select sum(v) from t').fetchone(),c.execute('pragma integrity_check').fetchone(),[p.exitcode for p in ps]); c.close()
X
### python-mix
python3 - <<'X'
import concurrent.futures as f, os, mmap, threading, signal, subprocess, socket
with f.ProcessPoolExecutor(4) as e: print(sum(e.map(pow,range(200),[2]*200)))
with f.ThreadPoolExecutor(16) as e: print(sum(e.map(lambda i: len(subprocess.check_output(['echo',str(i)])),range(60))))
def w(i):
    for j in range(50):
        p=f'd{i}_{j}'; os.mkdir(p); open(p+'/f','w').write('x'*j); os.rename(p+'/f',p+'/g'); os.unlink(p+'/g'); os.rmdir(p)
ts=[threading.Thread(target=w,args=(i,)) for i in range(8)]; [t.start() for t in ts]; [t.join() for t in ts]; print(os.listdir('.'))
fd=os.open('m',os.O_RDWR|os.O_CREAT); os.ftruncate(fd,1<<20); m=mmap.mmap(fd,1<<20)
if not os.fork(): m[5]=7; os._exit(0)
os.wait(); print(m[5], os.pread(fd,1,5))
s=socket.socketpair(socket.AF_UNIX,socket.SOCK_SEQPACKET); s[0].send(b'a'*100); s[0].send(b'b'); print(len(s[1].recv(999)),len(s[1].recv(999)))
r=os.memfd_create('x'); os.write(r,b'hey'); print(open(f'/proc/self/fd/{r}').read(), os.readlink(f'/proc/self/fd/{r}'))
e=os.eventfd(3); print(os.eventfd_read(e)); print(os.posix_fallocate(fd,0,4096), os.copy_file_range(fd,os.open('n',os.O_RDWR|os.O_CREAT),100), os.path.getsize('n'))
signal.pthread_sigmask(signal.SIG_BLOCK,[signal.SIGCHLD]); p=subprocess.Popen(['true']); print(signal.sigwait([signal.SIGCHLD])==signal.SIGCHLD, p.wait())
X
### dpkg-conffiles
mkdir -p p/DEBIAN p/usr/bin p/etc; printf 'Package: hello-x\nVersion: 1.0\nArchitecture: all\nMaintainer: a <a@b>\nDepends: bash\nDescription: d\n' > p/DEBIAN/control
printf '#!/bin/sh\necho pkg\n' > p/usr/bin/hello-x; chmod 755 p/usr/bin/hello-x; echo cfg > p/etc/hello.conf; echo /etc/hello.conf > p/DEBIAN/conffiles; printf '#!/bin/sh\nset -e\necho post $1 >> /tmp/w/post\n' > p/DEBIAN/postinst; chmod 755 p/DEBIAN/postinst
dpkg-deb --root-owner-group -b p x.deb; dpkg -i x.deb; hello-x; cat post; dpkg -s hello-x | head -n 4; dpkg -L hello-x; echo changed > /etc/hello.conf; dpkg -V hello-x; dpkg -r hello-x; ls /etc/hello.conf; dpkg -P hello-x; ls /etc/hello.conf
### apt-get-local-package
mkdir -p p/DEBIAN; printf 'Package: hello-y\nVersion: 1.0\nArchitecture: all\nMaintainer: a <a@b>\nDescription: d\n' > p/DEBIAN/control; dpkg-deb --root-owner-group -b p y.deb >/dev/null; apt-get install -y -qq ./y.deb >log 2>&1; echo $?; grep -c -e Unpacking -e 'Setting up' log; apt-get check -qq; echo $?; apt-get remove -y -qq hello-y >/dev/null 2>&1; echo $?; dpkg -s hello-y 2>&1 | head -n 1
### perl-unix-socket
perl -MIO::Socket::UNIX -MTime::HiRes=usleep,alarm -e 'my $s=IO::Socket::UNIX->new(Local=>"p",Listen=>1); if(!fork){my $c=IO::Socket::UNIX->new("p"); print $c "hello\n"; exit 5} my $c=$s->accept; print <$c>; wait; print $?>>8,"\n"; $SIG{ALRM}=sub{print "alrm\n"}; alarm(0.05); usleep(200000)'
### go-unix-socket
cat > s.go <<'EOF'
package main
import ("bufio"; "fmt"; "net"; "os"; "sort"; "sync"; "time"; "context"; "os/exec")
func main() {
  l, err := net.Listen("unix", "go.sock"); if err != nil { fmt.Println(err); return }
  go func() { for { c, err := l.Accept(); if err != nil { return }; go func() { r := bufio.NewReader(c); s, _ := r.ReadString('\n'); fmt.Fprint(c, "got "+s); c.Close() }() } }()
  var wg sync.WaitGroup; var mu sync.Mutex; var all []string
  for i := 0; i < 50; i++ { wg.Add(1); go func(i int) { defer wg.Done(); c, err := net.Dial("unix", "go.sock"); if err != nil { fmt.Println(err); return }; fmt.Fprintf(c, "%02d\n", i); s, _ := bufio.NewReader(c).ReadString('\n'); mu.Lock(); all = append(all, s); mu.Unlock() }(i) }
  wg.Wait(); sort.Strings(all); fmt.Println(len(all), all[0], all[49]); l.Close(); _, err = os.Stat("go.sock"); fmt.Println(os.IsNotExist(err))
  ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond); defer cancel(); fmt.Println(exec.CommandContext(ctx, "sleep", "9").Run())
}
EOF
GOCACHE=/tmp/gc GO111MODULE=off go build -o s s.go && ./s
### vi-edit-many
seq 200 > f; vim.tiny -es -u NONE -c 'g/5$/d' -c '%s/^1/X/' -c 'w! g' -c 'r !echo read' -c 'wq'; wc -l f g; tail -n 2 f; sha256sum g
### pty-session-leader-exit
python3 - <<'X'
import os,pty,fcntl,termios
m,s=pty.openpty(); r,w=os.pipe()
for i in range(3):
    pid=os.fork()
    if pid==0:
        os.setsid(); fcntl.ioctl(s,termios.TIOCSCTTY,0); os.write(s,b'%d\n'%i); os.read(r,1); os._exit(i)
    # What it wrote is read before it ends: a hangup may throw the rest away.
    print(os.read(m,99)); os.write(w,b'.')
    print(os.waitstatus_to_exitcode(os.waitpid(pid,0)[1]))
X
### bash-background-tty-read
python3 - <<'X'
import pty,os
pid,fd=pty.fork()
if pid==0: os.execvp('bash',['bash','--norc','--noprofile','-i'])
o=b''
def say(b,t):
    global o
    os.write(fd,b)
    while t not in o: o+=os.read(fd,9999)
say(b'PS1=""; stty -echo; echo a$((1+1))\n',b'a2'); say(b'cat & until jobs -s | grep -q cat; do sleep .1; done; jobs; echo b$((1+1))\n',b'b2')
say(b'fg\nto cat\n',b'to cat\r\n'); os.write(fd,b'\x04'); say(b'echo st=$?\n',b'st=0'); os.write(fd,b'exit 3\n')
try:
    while (x:=os.read(fd,9999)): o+=x
except OSError: pass
print(b'Stopped' in o, b'to cat' in o, b'st=0' in o, os.waitstatus_to_exitcode(os.waitpid(pid,0)[1]))
X
